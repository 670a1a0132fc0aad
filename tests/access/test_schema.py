"""Requests that nobody thought of, from schemathesis, with the token of every role: nothing breaks, and every answer is as
openapi.json says: its status, content type, headers and schema.
"""

import os
import string
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.local import ROOT
from routes import CHECKS, DEFAULT_POLICY
from world import World

HERE = Path(__file__).parent
# How many requests of each route; an administrator also sends what is at the edges of what it may be.
EXAMPLES = {"admin": 4, "viewer": 2, "deployer": 2, "platform": 2, "secretReader": 2, "nobody": 1}
PATIENCE = 900  # seconds for each of them


@pytest.fixture(scope="module")
def ground(people):
    """An organisation where anything may come of it: nothing that is there can run terraform, and no other test counts on
    what it has.
    """
    admin = people.admin("fuzz")
    for token in admin.every("/v1/tokens"):
        # Those that an administrator made in an earlier run.
        admin.ask("DELETE", f"/v1/tokens/{token['id']}")
    # One that came of it may refuse every template.
    admin.put("/v1/template-policy", DEFAULT_POLICY)
    world = World(people.somebody("fuzz", "admin"))
    yield world
    world.end()


@pytest.fixture
def settings(ground, tmp_path):
    file = tmp_path / "schemathesis.toml"
    file.write_text(string.Template((HERE / "schemathesis.toml").read_text()).safe_substitute(ground.names()))
    return file


def test_nothing_breaks_and_every_answer_is_as_documented(people, settings, stack):
    tokens = {role: people.token("fuzz", role)["token"] if role != "nobody" else "" for role in EXAMPLES}
    with ThreadPoolExecutor(2) as pool:
        runs = {role: pool.submit(run, role, token, settings, stack["bearerApiUrl"]) for role, token in tokens.items()}
    failed = [f"=== {role}\n{done.stdout}{done.stderr}" for role, done in
              ((role, future.result()) for role, future in runs.items()) if done.returncode != 0]
    assert not failed, "\n".join(failed)


def run(role, token, settings, url):
    phases = "examples,coverage,fuzzing" if role == "admin" else "examples,fuzzing"
    return subprocess.run(
        [Path(sys.executable).parent / "schemathesis", "--config-file", settings, "run", f"{url}/openapi.json",
         "--url", url, "--phases", phases, "--max-examples", str(EXAMPLES[role]), "--checks", ",".join(CHECKS),
         "--continue-on-failure", "--generation-deterministic", "--no-color", "--warnings", "off"],
        cwd=settings.parent, capture_output=True, text=True, timeout=PATIENCE,
        env={**os.environ, "TOKEN": token, "NO_PROXY": "127.0.0.1", "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
             "PYTHONPATH": os.pathsep.join((str(HERE), str(ROOT)))})
