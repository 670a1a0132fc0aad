"""The Python tools are those of requirements.in, and nothing is installed that has no hash."""

import re

from infra.local import ROOT

FOLDER = ROOT / "infra/local"


def name(requirement):
    return re.sub(r"[-_.]+", "-", re.split(r"[\[=]", requirement)[0]).lower()


def pins(text):
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    return {name(line): line for line in lines if line and not line.startswith("#")}


WANTED = pins((FOLDER / "requirements.in").read_text())
LOCKED = pins((FOLDER / "requirements.txt").read_text())


def test_what_is_wanted_is_locked_in_that_version():
    for wanted, line in WANTED.items():
        assert LOCKED[wanted].split()[0].split("==")[1] == line.split("==")[1], wanted


def test_every_package_has_one_version_and_its_hashes():
    for line in LOCKED.values():
        assert re.fullmatch(r"[\w.-]+==[\w.+-]+(\s+--hash=sha256:[0-9a-f]{64})+", line), line[:60]


def test_tools_are_installed_with_their_hashes_and_nothing_beside_them():
    (command,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if "pip install" in line]
    for option in ("--require-hashes", "--no-deps", "--only-binary :all:"):
        assert option in command
