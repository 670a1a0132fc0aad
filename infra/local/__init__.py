"""The stack on one machine, and what deploying to AWS shares with it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
REGION = "us-east-1"
STACK_NAME = "conductor"
