"""Owns where the engines and the AWS provider come from: this machine first, then, but for OpenTofu, their official releases."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

PLATFORM = "linux_amd64"
PROVIDER = "registry.terraform.io/hashicorp/aws"

# What is fetched where nothing is found; the sum is of the zip on releases.hashicorp.com.
TERRAFORM_VERSION = "1.11.4"
TERRAFORM_SHA256 = "1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc"
PROVIDER_VERSION = "5.100.0"


@dataclass
class Found:
    kind: str  # engine, provider
    name: str
    version: str
    files: dict  # name in the archive -> path
    source: str  # for people: where it came from

    def program(self):
        """The path of a provider's program; None for an engine, which is not checked again once it is unpacked."""
        name = f"terraform-provider-{self.name.rpartition('/')[2]}"
        programs = [path for file, path in self.files.items() if file == name or file.startswith(f"{name}_")]
        return programs[0] if self.kind == "provider" and len(programs) == 1 else None


def engine(folder):
    """Terraform; fetched into the folder if the machine has none."""
    binary = os.environ.get("CONDUCTOR_TERRAFORM") or shutil.which("terraform")
    if binary:
        source = str(Path(binary).resolve())
    else:
        binary, source = fetch_terraform(folder), "the official release"
    version = json.loads(run(binary, "version", "-json"))["terraform_version"]
    return Found("engine", "terraform", version, {"terraform": Path(binary).resolve()}, source)


def tofu():
    """OpenTofu, where the machine has it; None otherwise. It is never fetched: no template that ships asks for it."""
    binary = os.environ.get("CONDUCTOR_TOFU") or shutil.which("tofu")
    if not binary:
        return None
    version = json.loads(run(binary, "version", "-json"))["terraform_version"]
    return Found("engine", "tofu", version, {"tofu": Path(binary).resolve()}, str(Path(binary).resolve()))


def provider(binary, folder):
    """The AWS provider: the newest version on the machine, else mirrored into the folder. None where it is not to be had."""
    candidates = [
        (version_key(place.parent.name), place)
        for mirror in mirrors()
        for place in mirror.glob(f"{PROVIDER}/*/{PLATFORM}")
    ]
    if candidates:
        place = max(candidates)[1]
        return Found("provider", PROVIDER, place.parent.name, {f.name: f for f in place.iterdir() if f.is_file()}, str(place))
    place = fetch_provider(binary, folder)
    if place is None:
        return None
    return Found("provider", PROVIDER, PROVIDER_VERSION, {f.name: f for f in place.iterdir()}, "terraform providers mirror")


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


def fetch_terraform(folder):
    binary = folder / f"terraform-{TERRAFORM_VERSION}" / "terraform"
    if binary.exists():
        return binary
    name = f"terraform_{TERRAFORM_VERSION}_{PLATFORM}.zip"
    archive = folder / name
    url = f"https://releases.hashicorp.com/terraform/{TERRAFORM_VERSION}/{name}"
    print(f"  no terraform on PATH; fetching {url}")
    try:
        urllib.request.urlretrieve(url, archive)
    except OSError as error:
        raise SystemExit(f"terraform is not on PATH, and {url} cannot be fetched: {error}") from None
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != TERRAFORM_SHA256:
        raise SystemExit(f"{url} has SHA-256 {digest}, not {TERRAFORM_SHA256}")
    unzip(archive, binary.parent)
    return binary


def fetch_provider(binary, folder):
    """`terraform providers mirror`, which checks the registry's signatures; it leaves a zip."""
    place = folder / f"aws-{PROVIDER_VERSION}"
    if place.exists():
        return place
    print(f"  no AWS provider on this machine; fetching {PROVIDER_VERSION} (about 150 MB) from the registry")
    with tempfile.TemporaryDirectory(dir=folder) as module:
        Path(module, "main.tf.json").write_text(json.dumps(
            {"terraform": {"required_providers": {"aws": {"source": "hashicorp/aws", "version": PROVIDER_VERSION}}}}))
        done = subprocess.run(
            [binary, f"-chdir={module}", "providers", "mirror", f"-platform={PLATFORM}", f"{module}/mirror"],
            env=environment(), capture_output=True, text=True)
        if done.returncode != 0:
            said = re.sub(r"\x1b\[[0-9;]*m|[│╷╵]", "", done.stderr)
            print(f"  not to be had: {' '.join(said.split())}")
            return None
        unzip(next(Path(module, "mirror", PROVIDER).glob(f"*_{PROVIDER_VERSION}_{PLATFORM}.zip")), place)
    return place


def unzip(archive, place):
    """All of it or nothing, programs executable, and the zip gone."""
    half_done = place.with_suffix(".part")
    shutil.rmtree(half_done, ignore_errors=True)
    zipfile.ZipFile(archive).extractall(half_done)
    for path in half_done.glob("terraform*"):
        path.chmod(0o755)
    half_done.rename(place)
    archive.unlink()


def run(*command):
    return subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout


def environment():
    """Ours, without settings that would make terraform behave otherwise here than for others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    return {**kept, "CHECKPOINT_DISABLE": "1"}


def version_key(version):
    return [int(part) if part.isdigit() else -1 for part in version.split(".")]
