"""Owns where the engines and the AWS provider come from: this machine first, then, but for OpenTofu, their signed releases."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from infra.toolchain import release

PROVIDER = "registry.terraform.io/hashicorp/aws"

# What is fetched where nothing is found.
TERRAFORM_VERSION = "1.11.4"
PROVIDER_VERSION = "5.100.0"
SIGNED = "the publisher's release, its signature checked"


@dataclass
class Found:
    kind: str  # engine, provider
    name: str
    version: str
    files: dict  # name in the archive -> path
    source: str  # for people: where it came from

    def program(self):
        """The path of its program; None where there is not exactly one."""
        if self.kind == "engine":
            return self.files[self.name]
        name = f"terraform-provider-{self.name.rpartition('/')[2]}"
        programs = [path for file, path in self.files.items() if file == name or file.startswith(f"{name}_")]
        return programs[0] if len(programs) == 1 else None


def engine(folder):
    """Terraform; fetched into the folder if the machine has none."""
    binary = os.environ.get("CONDUCTOR_TERRAFORM") or shutil.which("terraform")
    if binary:
        source = on_this_machine(Path(binary).resolve())
    else:
        try:
            binary, source = release.fetch("terraform", TERRAFORM_VERSION, folder) / "terraform", SIGNED
        except OSError as error:
            raise SystemExit(f"terraform is not on PATH, and its release cannot be fetched: {error}") from None
    version = json.loads(run(binary, "version", "-json"))["terraform_version"]
    return Found("engine", "terraform", version, {"terraform": Path(binary).resolve()}, source)


def tofu():
    """OpenTofu, where the machine has it; None otherwise. It is never fetched: no template that ships asks for it."""
    binary = os.environ.get("CONDUCTOR_TOFU") or shutil.which("tofu")
    if not binary:
        return None
    version = json.loads(run(binary, "version", "-json"))["terraform_version"]
    return Found("engine", "tofu", version, {"tofu": Path(binary).resolve()}, on_this_machine(Path(binary).resolve()))


def provider(folder):
    """The AWS provider: the newest version on the machine, else fetched into the folder. None where it is not to be had."""
    candidates = [
        (version_key(place.parent.name), place)
        for mirror in mirrors()
        for place in mirror.glob(f"{PROVIDER}/*/{release.PLATFORM}")
    ]
    if candidates:
        place = max(candidates)[1]
        return Found("provider", PROVIDER, place.parent.name, {f.name: f for f in place.iterdir() if f.is_file()},
                     on_this_machine(place))
    try:
        place = release.fetch("terraform-provider-aws", PROVIDER_VERSION, folder)
    except OSError as error:
        print(f"  not to be had: {error}")
        return None
    return Found("provider", PROVIDER, PROVIDER_VERSION, {f.name: f for f in place.iterdir()}, SIGNED)


def on_this_machine(path):
    return f"{path}, which is on this machine: no signature was checked"


def mirrors():
    """The folder that the user names; else those that terraform itself looks into, and those one level below /opt and
    /usr/local/share."""
    named = os.environ.get("CONDUCTOR_PROVIDER_MIRROR")
    if named:
        return [Path(named)]
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    implied = [
        Path.home() / ".terraform.d/plugins",
        data / "terraform/plugins",
        Path("/usr/local/share/terraform/plugins"),
        Path("/usr/share/terraform/plugins"),
    ]
    searched = [Path("/opt"), *Path("/opt").glob("*"), *Path("/usr/local/share").glob("*")]
    return [folder for folder in implied + searched if (folder / PROVIDER).is_dir()]


def run(*command):
    return subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout


def environment():
    """Ours, without settings that would make terraform behave otherwise here than for others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    return {**kept, "CHECKPOINT_DISABLE": "1"}


def version_key(version):
    return [int(part) if part.isdigit() else -1 for part in version.split(".")]
