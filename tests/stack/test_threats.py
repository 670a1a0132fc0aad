"""The threat model names tests, and they are there."""

import re

from infra.local import ROOT

SECTION = (ROOT / "docs/security.md").read_text().split("\n## Threats\n", 1)[1].split("\n## ", 1)[0]
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in SECTION.splitlines() if line.startswith("| ")][1:]


def named(cell):
    """`file`: `test`, `test`; `file`: … as pairs."""
    for part in cell.split("; "):
        file, *tests = re.findall(r"`([^`]+)`", part)
        yield from ((file, test) for test in tests)


def test_every_threat_has_a_test():
    assert len(ROWS) > 40
    for row in ROWS:
        assert len(row) == 4 and list(named(row[3])), row


def test_every_test_that_is_named_is_there():
    for file, test in (pair for row in ROWS for pair in named(row[3])):
        assert re.search(rf"\b(fn|def) {test}\(", (ROOT / file).read_text()), (file, test)
