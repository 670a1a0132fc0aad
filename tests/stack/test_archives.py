"""The same files give the same archive, whenever and wherever they were written."""

import hashlib
import os
import tarfile
from pathlib import Path

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


# What `terraform providers mirror` does, for a provider of a few bytes.
TERRAFORM = """#!/bin/sh
[ "$2 $3" = "providers mirror" ] || exit 1
for last; do :; done
folder=$last/registry.terraform.io/hashicorp/aws
mkdir -p $folder
printf content > terraform-provider-aws_v5.100.0_x5
python3 -m zipfile -c $folder/terraform-provider-aws_5.100.0_linux_amd64.zip terraform-provider-aws_v5.100.0_x5
echo x >> mirrored
"""


def test_a_machine_without_the_provider_mirrors_it_once(monkeypatch, tmp_path):
    monkeypatch.setenv("CONDUCTOR_PROVIDER_MIRROR", "/nowhere")
    monkeypatch.chdir(tmp_path)
    terraform = tmp_path / "terraform"
    terraform.write_text(TERRAFORM)
    terraform.chmod(0o755)
    for _ in range(2):
        provider = find.provider(terraform, tmp_path)
        assert (provider.version, provider.source) == (find.PROVIDER_VERSION, "terraform providers mirror")
        (program,) = provider.files.values()
        assert program.read_text() == "content" and os.access(program, os.X_OK)
    assert (tmp_path / "mirrored").read_text() == "x\n"


def test_a_machine_without_the_provider_and_without_the_registry_goes_on_without_it(monkeypatch, tmp_path):
    monkeypatch.setenv("CONDUCTOR_PROVIDER_MIRROR", "/nowhere")
    assert find.provider("/bin/false", tmp_path) is None
