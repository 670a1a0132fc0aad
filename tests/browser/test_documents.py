"""The pictures in the documents: two real pages, small enough to be kept. Only where they are asked for, as they are in
git; best on a stack that is fresh, so that nobody else's deployments are on them.

    CONDUCTOR_DOCS_SCREENSHOTS=1 .venv/bin/python -m pytest tests/browser/test_documents.py
"""

import os

import pytest

from infra.local import ROOT
from play import ACTOR

MOST_BYTES = 150_000
STORY = {
    "network": ("network", [], ["3 subnets in 3 zones"]),
    "database": ("database", ["network"], ["version 17", "2 replicas"]),
    "cache": ("cache", ["network"], ["ready"]),
    "events": ("topic", [], ["ready"]),
    "files": ("bucket", [], ["ready"]),
    "search": ("search-index", ["database", "events"], ["filling the index: 12,000 of 48,000", "wait"]),
    "reports": ("schedule", ["database", "files"], ["wait"]),
    "public-name": ("dns-name", ["search", "cache"], []),
}

pytestmark = pytest.mark.skipif(
    not os.environ.get("CONDUCTOR_DOCS_SCREENSHOTS"), reason="CONDUCTOR_DOCS_SCREENSHOTS=1 makes docs/dashboard-*.png anew")


def resources(play, gate, before=()):
    """The story's resources; where there is no gate, those before it."""
    made = {}
    for name, (kind, after, rows) in STORY.items():
        if gate is None and name not in before:
            continue
        play.template(kind, ACTOR)
        script = [f"wait {gate}" if row == "wait" else row for row in rows]
        made[name] = {"type": kind, "dependsOn": after, "params": {"script": script}}
    return made


def test_pictures_for_the_documents_are_made(dashboard, play):
    environment, gate = "staging", play.gate()
    play.api.put(f"/v1/environments/{environment}", {"type": "staging"})
    for application in ("billing", "accounts"):
        play.run(environment, resources(play, None, ("network", "database")), application, commitId="c41e7d2")
    broken = {"mail": play.acts(needs=str(gate), complaint="The domain is not verified yet.")}
    play.run(environment, broken, "mailing", expect="Failed", commitId="90ab3fe")
    id = play.deploy(environment, resources(play, gate), "orders", commitId="4f2a91c",
                     metadata={"pipeline": "main", "build": 812})
    play.until(id, search="Running", reports="Running", cache="Succeeded")

    dashboard.sheet(1280, 1080)
    dashboard.deployment(id)
    dashboard.until(lambda: dashboard.log(), "the log has come")
    first = dashboard.picture("dashboard-deployment", folder=ROOT / "docs")
    dashboard.sheet(1280, 860)
    dashboard.open("/")
    second = dashboard.picture("dashboard-overview", folder=ROOT / "docs")
    gate.touch()
    play.ended(id)
    for application in ("orders", "billing", "accounts", "mailing"):
        play.ended(play.api.delete(f"/v1/applications/{application}/environments/{environment}")["id"])
    assert all(file.stat().st_size < MOST_BYTES for file in (first, second))
