"""The stack on one machine, and what deploying to AWS shares with it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
REGION = "us-east-1"
STACK_NAME = "conductor"


def target_name(name):
    """The stack, and the role in it, of the first environment of Conductor's stack of this name."""
    return "conductor-target" if name == STACK_NAME else f"conductor-target-{name}"
