"""The same files give the same archive, whenever and wherever they were written."""

import hashlib
import json
import os
import tarfile
from pathlib import Path

import boto3
import zstandard

from infra.local import seed
from infra.toolchain import find, pack


def files(folder, time):
    folder.mkdir()
    for name, mode in (("terraform-provider-x", 0o700), ("LICENSE.txt", 0o600)):
        path = folder / name
        path.write_text(name)
        path.chmod(mode)
        os.utime(path, (time, time))
    return {path.name: path for path in folder.iterdir()}


def found(files):
    return find.Found("provider", "registry.example/x/x", "1.0.0", files, "here")


def test_a_toolchain_archive_is_named_by_its_content_alone(tmp_path):
    first = pack.pack(found(files(tmp_path / "a", 1)), tmp_path)
    second = pack.pack(found(files(tmp_path / "b", 1_000_000_000)), tmp_path)
    assert first == second
    with tarfile.open(fileobj=zstandard.ZstdDecompressor().stream_reader(pack.archive(first, tmp_path).open("rb")), mode="r|") as tar:
        assert [(m.name, m.mode, m.mtime, m.uid, m.uname) for m in tar] == [
            ("LICENSE.txt", 0o644, 0, 0, ""), ("terraform-provider-x", 0o755, 0, 0, "")]
    assert first["unpackedBytes"] == len("LICENSE.txt") + len("terraform-provider-x")
    assert first["programSha256"] == hashlib.sha256(b"terraform-provider-x").hexdigest()
    assert first["key"] == f"toolchain/{first['sha256']}.tar.zst"


def test_an_engines_program_is_pinned_too(tmp_path):
    program = tmp_path / "terraform"
    program.write_text("the program")
    entry = pack.pack(find.Found("engine", "terraform", "1.0.0", {"terraform": program}, "here"), tmp_path)
    assert entry["programSha256"] == hashlib.sha256(b"the program").hexdigest()


def test_a_toolchain_archive_is_packed_once(tmp_path):
    content = files(tmp_path / "a", 1)
    entry = pack.pack(found(content), tmp_path)
    before = pack.archive(entry, tmp_path).stat().st_mtime_ns
    assert pack.pack(found(content), tmp_path) == entry
    assert pack.archive(entry, tmp_path).stat().st_mtime_ns == before


def test_a_templates_zip_depends_on_its_files_alone(tmp_path):
    files(tmp_path / "a", 1)
    files(tmp_path / "b", 1_000_000_000)
    assert seed.archive(tmp_path / "a") == seed.archive(tmp_path / "b")


def test_the_folder_that_the_user_names_is_the_only_mirror(monkeypatch):
    monkeypatch.setenv("CONDUCTOR_PROVIDER_MIRROR", "/nowhere")
    assert find.mirrors() == [Path("/nowhere")]


def test_the_manifest_pins_each_archive_by_its_sum(stack):
    s3 = boto3.client("s3")
    manifest = json.load(s3.get_object(Bucket=stack["artifactBucket"], Key="toolchain/manifest.json")["Body"])
    assert manifest["artifacts"]
    for artifact in manifest["artifacts"]:
        digest = hashlib.sha256()
        for part in s3.get_object(Bucket=stack["artifactBucket"], Key=artifact["key"])["Body"].iter_chunks(1 << 20):
            digest.update(part)
        assert digest.hexdigest() == artifact["sha256"]
        assert artifact["key"] == f"toolchain/{artifact['sha256']}.tar.zst"
        assert "programSha256" in artifact
