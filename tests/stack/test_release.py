"""What is packed from the publisher's release is what the publisher signed; what is packed from the machine is said to be that."""

import hashlib
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest

from infra.toolchain import find, release

PRODUCT, VERSION = "terraform", "1.2.3"
ARCHIVE = f"{PRODUCT}_{VERSION}_{release.PLATFORM}.zip"
SUMS = f"{PRODUCT}_{VERSION}_SHA256SUMS"


class Keys:
    """A publisher's key and somebody else's."""

    def __init__(self, home):
        self.home = home
        self.publisher, self.other = self.make("publisher"), self.make("other")

    def make(self, name):
        self.gpg("--passphrase", "", "--quick-generate-key", f"{name}@example.com", "ed25519", "sign", "never")
        listed = self.gpg("--with-colons", "--list-keys", f"{name}@example.com").decode()
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))

    def gpg(self, *arguments):
        return subprocess.run(["gpg", "--homedir", self.home, "--batch", *arguments], check=True, capture_output=True).stdout

    def export(self, *keys, armour=True):
        return self.gpg(*(["--armor"] if armour else []), "--export", *keys)

    def sign(self, file, key, signature):
        signature.unlink(missing_ok=True)
        self.gpg("--local-user", key, "--output", signature, "--detach-sign", file)


@pytest.fixture(scope="module")
def keys():
    # Not below pytest's own folder: the agent's socket has a short name.
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        yield Keys(home)
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


class Site:
    """A publisher's releases, in a folder."""

    def __init__(self, folder, keys):
        self.keys = keys
        self.place = folder / "site" / PRODUCT / VERSION
        self.place.mkdir(parents=True)
        self.key = folder / "site/key.asc"
        self.key.write_bytes(keys.export(keys.publisher))
        self.publisher = release.Publisher(f"file://{folder}/site", f"file://{self.key}", keys.publisher)
        with zipfile.ZipFile(self.archive, "w") as content:
            content.writestr("terraform", "the program")
        self.sums.write_text(f"{'0' * 64}  another.zip\n{hashlib.sha256(self.archive.read_bytes()).hexdigest()}  {ARCHIVE}\n")
        self.sign(keys.publisher)

    archive = property(lambda self: self.place / ARCHIVE)
    sums = property(lambda self: self.place / SUMS)

    def sign(self, key):
        self.keys.sign(self.sums, key, self.place / f"{SUMS}.{self.publisher.fingerprint[-8:]}.sig")


@pytest.fixture
def site(tmp_path, keys, monkeypatch):
    monkeypatch.delenv("CONDUCTOR_RELEASE_KEY", raising=False)
    return Site(tmp_path, keys)


def refused(site, folder):
    folder.mkdir()
    with pytest.raises(release.Unsigned) as caught:
        release.fetch(PRODUCT, VERSION, folder, site.publisher)
    assert list(folder.iterdir()) == []
    return str(caught.value)


def test_a_signed_release_is_unpacked_once(site, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    for _ in range(2):
        place = release.fetch(PRODUCT, VERSION, folder, site.publisher)
        assert (place / "terraform").read_text() == "the program"
        assert (place / "terraform").stat().st_mode & 0o111
        assert sorted(folder.iterdir()) == [place, folder / f"{place.name}.json"]
        shutil.rmtree(site.place, ignore_errors=True)


def test_sums_that_were_changed_are_refused(site, tmp_path):
    site.sums.write_text(site.sums.read_text().replace("another", "a-third"))
    assert "not signed by" in refused(site, tmp_path / "cache")


def test_another_archive_is_refused(site, tmp_path):
    with zipfile.ZipFile(site.archive, "w") as content:
        content.writestr("terraform", "another program")
    assert "its publisher has signed" in refused(site, tmp_path / "cache")


def test_an_archive_that_the_sums_do_not_name_is_refused(site, tmp_path):
    site.sums.write_text(f"{'0' * 64}  another.zip\n")
    site.sign(site.publisher.fingerprint)
    assert refused(site, tmp_path / "cache").endswith("its publisher has signed none")


def test_a_signature_of_another_key_is_refused_even_where_the_file_of_keys_has_it(site, keys, tmp_path):
    site.sign(keys.other)
    site.key.write_bytes(keys.export(keys.publisher) + keys.export(keys.other))
    assert "not signed by" in refused(site, tmp_path / "cache")


def test_another_key_is_not_the_publishers(site, keys, tmp_path):
    site.sign(keys.other)
    site.key.write_bytes(keys.export(keys.other))
    assert "not signed by" in refused(site, tmp_path / "cache")


def test_a_signature_of_something_else_is_refused(site, keys, tmp_path):
    (site.place / "old").write_text(f"{'1' * 64}  {ARCHIVE}\n")
    keys.sign(site.place / "old", keys.publisher, site.place / f"{SUMS}.{keys.publisher[-8:]}.sig")
    assert "not signed by" in refused(site, tmp_path / "cache")


@pytest.mark.parametrize("armour", (True, False))
def test_the_key_may_come_from_a_file(site, keys, tmp_path, monkeypatch, armour):
    named = tmp_path / "named"
    named.write_bytes(keys.export(keys.publisher, armour=armour))
    monkeypatch.setenv("CONDUCTOR_RELEASE_KEY", str(named))
    site.key.unlink()
    (tmp_path / "cache").mkdir()
    assert (release.fetch(PRODUCT, VERSION, tmp_path / "cache", site.publisher) / "terraform").exists()


def test_a_file_of_several_keys_is_read_whole(site, keys, tmp_path):
    site.key.write_bytes(b"Our keys:\r\n" + keys.export(keys.other).replace(b"\n", b"\r\n") + keys.export(keys.publisher))
    (tmp_path / "cache").mkdir()
    assert release.fetch(PRODUCT, VERSION, tmp_path / "cache", site.publisher)


def test_a_machine_that_cannot_check_signatures_fetches_nothing(site, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "gpgv is missing" in refused(site, tmp_path / "cache")


def nowhere(monkeypatch, tmp_path):
    """No terraform on this machine, no provider, and no way to the publisher."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CONDUCTOR_PROVIDER_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.delenv("CONDUCTOR_TERRAFORM", raising=False)

    def unreachable(url, file):
        raise OSError(f"no way to {url}")

    monkeypatch.setattr(release, "download", unreachable)


def test_a_machine_without_the_provider_and_without_its_release_goes_on_without_it(monkeypatch, tmp_path):
    nowhere(monkeypatch, tmp_path)
    assert find.provider(tmp_path) is None


def test_a_machine_without_terraform_and_without_its_release_does_not(monkeypatch, tmp_path):
    nowhere(monkeypatch, tmp_path)
    with pytest.raises(SystemExit, match="terraform is not on PATH, and its release cannot be fetched"):
        find.engine(tmp_path)


def test_what_is_on_the_machine_is_said_to_be_unchecked(monkeypatch, tmp_path):
    nowhere(monkeypatch, tmp_path)
    program = tmp_path / "terraform"
    program.write_text("#!/bin/sh\necho '{\"terraform_version\": \"1.2.3\"}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("CONDUCTOR_TERRAFORM", str(program))
    folder = Path(tmp_path / "mirror" / find.PROVIDER / "1.0.0" / release.PLATFORM)
    folder.mkdir(parents=True)
    (folder / "terraform-provider-aws_v1.0.0").write_text("x")
    engine, provider = find.engine(tmp_path), find.provider(tmp_path)
    assert engine.source == f"{program}, which is on this machine: no signature was checked"
    assert provider.source == f"{folder}, which is on this machine: no signature was checked"


def test_what_was_fetched_is_said_to_be_signed(site, monkeypatch, tmp_path):
    monkeypatch.setattr(find, "PROVIDER_VERSION", VERSION)
    place = release.fetch(PRODUCT, VERSION, tmp_path, site.publisher)
    place.rename(tmp_path / f"terraform-provider-aws-{VERSION}")
    (tmp_path / f"{place.name}.json").rename(tmp_path / f"terraform-provider-aws-{VERSION}.json")
    nowhere(monkeypatch, tmp_path)
    assert find.provider(tmp_path).source == find.SIGNED


@pytest.mark.parametrize("change", (
    lambda place: (place / "terraform").write_text("another program"),
    lambda place: (place / "more").write_text(""),
    lambda place: (place / "terraform").unlink(),
    lambda place: place.with_name(f"{place.name}.json").unlink(),
))
def test_what_was_fetched_and_then_changed_is_fetched_anew(site, monkeypatch, tmp_path, change):
    folder = tmp_path / "cache"
    folder.mkdir()
    place = release.fetch(PRODUCT, VERSION, folder, site.publisher)
    change(place)
    assert release.fetch(PRODUCT, VERSION, folder, site.publisher) == place
    assert [path.name for path in place.iterdir()] == ["terraform"]
    assert (place / "terraform").read_text() == "the program"
    change(place)
    nowhere(monkeypatch, tmp_path)
    with pytest.raises(OSError):
        release.fetch(PRODUCT, VERSION, folder, site.publisher)


def test_a_folder_that_was_not_fetched_is_not_said_to_be_signed(monkeypatch, tmp_path):
    nowhere(monkeypatch, tmp_path)
    monkeypatch.setattr(find, "PROVIDER_VERSION", VERSION)
    (tmp_path / f"terraform-provider-aws-{VERSION}").mkdir()
    assert find.provider(tmp_path) is None
