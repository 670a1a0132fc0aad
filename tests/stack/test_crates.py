"""Dependencies between our crates point one way: functions to engine to domain, and nothing else (ARCHITECTURE.md)."""

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "conductor-domain": set(),
    "conductor-telemetry": set(),
    "conductor-terraform": set(),
    "conductor-engine": {"conductor-domain"},
    "conductor-store": {"conductor-engine", "conductor-domain"},
}
FUNCTIONS = {"conductor-api", "conductor-provisioner", "conductor-sweeper"}
SHARED = set(ALLOWED)


def test_no_crate_depends_on_one_that_it_must_not_know():
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked"]
    packages = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)["packages"]
    for package in packages:
        ours = {d["name"] for d in package["dependencies"] if d["name"].startswith("conductor-")}
        if package["name"] in FUNCTIONS:
            assert ours <= SHARED, package["name"]
        elif package["name"] in ALLOWED:
            assert ours <= ALLOWED[package["name"]], package["name"]
        else:
            assert Path(package["manifest_path"]).is_relative_to(ROOT / "tests"), package["name"]
            assert not ours & FUNCTIONS, package["name"]
