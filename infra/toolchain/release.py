"""Owns what comes from HashiCorp's releases: nothing is unpacked that its publisher has not signed for.

A release has the SHA-256 of its archives in one file, and a signature over that file. The signature must be of the key with
the fingerprint below. Where that key's file comes from does not matter: CONDUCTOR_RELEASE_KEY names one, else it is fetched.
"""

import base64
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
TIMEOUT = 60  # seconds without an answer
ARMOUR = re.compile(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL)


@dataclass(frozen=True)
class Publisher:
    releases: str  # URL
    key: str  # URL
    fingerprint: str


HASHICORP = Publisher(
    releases="https://releases.hashicorp.com",
    key="https://www.hashicorp.com/.well-known/pgp-key.txt",
    fingerprint="C874011F0AB405110D02105534365D9472D7468F",
)


class Unsigned(SystemExit):
    """What came is not what the publisher signed."""


def fetch(product, version, folder, publisher=HASHICORP):
    """The folder of an unpacked release, fetched into this folder where it is not there as it was unpacked. OSError where it is not
    to be had."""
    place = folder / f"{product}-{version}"
    note = folder / f"{place.name}.json"
    if note.exists() and place.is_dir() and json.loads(note.read_text()) == digests(place):
        return place
    base = f"{publisher.releases}/{product}/{version}"
    name = f"{product}_{version}_{PLATFORM}.zip"
    sums_name = f"{product}_{version}_SHA256SUMS"
    print(f"  fetching {base}/{name}")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        here = Path(temporary)
        sums = download(f"{base}/{sums_name}", here / "sums")
        signature = download(f"{base}/{sums_name}.{publisher.fingerprint[-8:]}.sig", here / "signature")
        verify(sums, signature, key(publisher, here), publisher.fingerprint)
        archive = download(f"{base}/{name}", here / "archive")
        check(archive, name, sums.read_text())
        note.unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        unzip(archive, place)
    note.write_text(json.dumps(digests(place)))
    return place


def key(publisher, folder):
    """The publisher's key as gpgv reads it: without its armour."""
    named = os.environ.get("CONDUCTOR_RELEASE_KEY")
    content = (Path(named) if named else download(publisher.key, folder / "key")).read_bytes()
    blocks = [block.replace(b"\r", b"").split(b"\n\n", 1)[-1].splitlines() for block in ARMOUR.findall(content)]
    bare = [base64.b64decode(b"".join(line for line in block if not line.startswith(b"="))) for block in blocks]
    keyring = folder / "keyring.gpg"
    keyring.write_bytes(b"".join(bare) or content)
    return keyring


def verify(sums, signature, keyring, fingerprint):
    """Ends with Unsigned unless the signature is one, of this key alone, over these sums."""
    command = ["gpgv", "--homedir", keyring.parent, "--keyring", keyring, "--status-fd", "1", signature, sums]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise Unsigned("the signature of the release cannot be checked: gpgv is missing (Debian's package gpgv)") from None
    # The last word is the fingerprint of the primary key.
    signers = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("[GNUPG:] VALIDSIG ")]
    if done.returncode != 0 or signers != [fingerprint]:
        raise Unsigned(f"the sums of the release are not signed by {fingerprint}: {done.stderr.strip()}")


def check(archive, name, sums):
    """Ends with Unsigned unless the archive is the one of this name in the sums."""
    signed = [sum for sum, _, file in (line.partition("  ") for line in sums.splitlines()) if file == name]
    actual = digest(archive)
    if signed != [actual]:
        raise Unsigned(f"{name} has SHA-256 {actual}; its publisher has signed {', '.join(signed) or 'none'}")


def digests(place):
    """The SHA-256 of each file, by its path."""
    return {str(path.relative_to(place)): digest(path) for path in sorted(place.rglob("*")) if path.is_file()}


def digest(path):
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def download(url, file):
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, file.open("wb") as target:
        shutil.copyfileobj(answer, target)
    return file


def unzip(archive, place):
    """All of it or nothing, programs executable."""
    half_done = place.with_name(f"{place.name}.part")
    shutil.rmtree(half_done, ignore_errors=True)
    with zipfile.ZipFile(archive) as content:
        content.extractall(half_done)
    for path in half_done.glob("terraform*"):
        path.chmod(0o755)
    half_done.rename(place)
