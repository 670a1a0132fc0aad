"""Deploying leaves no stack that nobody can use, and none that is open without a word."""

import json
from pathlib import Path

import pytest
from samcli.cli.types import CfnParameterOverridesType

from infra.local import deploy, emulator, stack as stacks
from stack_template import PARAMETERS

ME = "arn:aws:iam::123456789012:role/me"
OTHERS = [{"arn": "arn:aws:iam::123456789012:role/ci", "roles": ["deployer:staging"]}]


@pytest.mark.parametrize("authentication, access, added", [
    ("iam", {}, True),
    ("iam,oidc", {"oidc": {"issuer": "https://idp.example"}}, True),
    ("iam,token", {"iam": []}, True),
    ("iam", {"iam": OTHERS}, False),
    ("oidc", {}, False),
    ("oidc,token", {}, False),
    ("open", {}, False),
])
def test_whoever_deploys_is_administrator_where_nobody_may_sign_yet(authentication, access, added):
    given = deploy.with_administrator({"Authentication": authentication, "Access": json.dumps(access)}, ME)
    expected = {**access, "iam": [{"arn": ME, "roles": ["admin"]}]}
    assert (given and json.loads(given)) == (expected if added else None)


@pytest.mark.parametrize("arn, identity", [
    ("arn:aws:sts::123456789012:assumed-role/me/session", ME),
    ("arn:aws-cn:sts::123456789012:assumed-role/me/a-session@example.com", "arn:aws-cn:iam::123456789012:role/me"),
    ("arn:aws:iam::123456789012:user/team/me", "arn:aws:iam::123456789012:user/team/me"),
    ("arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:root"),
])
def test_a_session_is_its_role(monkeypatch, arn, identity):
    class Client:
        def get_caller_identity(self):
            return {"Arn": arn}

    monkeypatch.setattr(deploy.boto3, "client", lambda service: Client())
    assert deploy.caller() == identity


def test_the_defaults_are_those_of_the_template():
    assert (deploy.AUTHENTICATION, deploy.ACCESS) == (PARAMETERS["Authentication"]["Default"], PARAMETERS["Access"]["Default"])


def test_an_open_stack_is_said_to_be_open():
    here = {"name": "x", "authentication": "open", "awsEndpointUrl": "http://127.0.0.1:4566"}
    assert "OPEN: everyone on this machine" in stacks.warning(here)
    assert "OPEN: everyone who can reach it" in stacks.warning({**here, "awsEndpointUrl": None})
    assert stacks.warning({**here, "authentication": "iam"}) is None


def test_the_emulator_listens_on_this_machine_alone(stack):
    port = f"{int(stack['awsEndpointUrl'].rsplit(':', 1)[1]):04X}"
    sockets = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    listening = {place.rsplit(":", 1)[0] for _, place, _, state, *_ in sockets if state == "0A" and place.endswith(f":{port}")}
    assert listening == {"0100007F"}  # 127.0.0.1


def test_a_token_is_kept_in_no_file_of_ours(monkeypatch):
    monkeypatch.setenv("CONDUCTOR_TOKEN", "cdr_secret")
    assert "cdr_secret" not in json.dumps(emulator.settings())


@pytest.mark.parametrize("authentication, token, url, signed", [
    ("open", None, "first", False),
    ("iam", None, "first", True),
    ("iam,token", None, "first", True),
    ("iam,token", "cdr_x", "second", False),
    ("oidc,token", "cdr_x", "first", False),
])
def test_the_tools_come_in_as_they_may(monkeypatch, authentication, token, url, signed):
    monkeypatch.delenv("CONDUCTOR_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("CONDUCTOR_TOKEN", token)
    second = "second" if authentication.startswith("iam,") else None
    api = stacks.api({"authentication": authentication, "apiUrl": "first", "bearerApiUrl": second})
    assert (api.url, api.signed, api.token) == (url, signed, token)


def test_parameters_reach_sam_as_they_were_given(tmp_path):
    given = deploy.overrides("local", "other", ["Access=" + json.dumps({"iam": OTHERS}), "Authentication=iam,token"])
    file = tmp_path / "parameters.yaml"
    file.write_text(json.dumps(given))
    assert CfnParameterOverridesType().convert([f"file://{file}"], None, None) == given
    assert given["Name"] == "other" and json.loads(given["Access"]) == {"iam": OTHERS}
