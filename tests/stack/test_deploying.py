"""Deploying leaves no stack that nobody can use, and none that is open without a word."""

import json
import os
from pathlib import Path

import pytest
from samcli.cli.types import CfnParameterOverridesType

from infra.local import deploy, emulator, seed, stack as stacks
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
    assert deploy.DEFAULTS == {name: str(PARAMETERS[name]["Default"]) for name in deploy.DEFAULTS}


@pytest.mark.parametrize("given, words", [
    ({}, []),
    ({"ProvisionerTimeout": "50", "StopBeforeDeadline": "15", "WorthStarting": "5", "SessionSeconds": "50", "WakeVisibility": "110"}, []),
    ({"ProvisionerTimeout": "120"}, ["StopBeforeDeadline + WorthStarting must be below ProvisionerTimeout (120)"]),
    ({"ProvisionerTimeout": "60", "SessionSeconds": "59"}, ["WorthStarting", "SessionSeconds must not be below"]),
    ({"WorthStarting": "30s"}, ["WorthStarting must be a whole number"]),
    ({"WakeVisibility": "959"}, ["WakeVisibility must be at least ProvisionerTimeout + 60 (960)"]),
])
def test_times_that_do_not_go_together_are_refused(given, words):
    broken = deploy.broken_rules(deploy.DEFAULTS | given)
    assert len(broken) == len(words) and all(word in rule for word, rule in zip(words, broken))


@pytest.mark.parametrize("authentication, access, expected", [
    ("iam", {"iam": [{"arn": ME, "roles": ["admin"]}]}, False),
    ("iam,token", {"iam": OTHERS}, True),
    ("oidc", {"iam": [{"arn": ME, "roles": ["admin"]}]}, True),
])
def test_who_deploys_and_may_not_call_is_known(authentication, access, expected):
    assert deploy.is_stranger({"Authentication": authentication, "Access": json.dumps(access)}, ME) == expected


def test_what_somebody_has_set_of_the_target_role_stays():
    before = {"RoleName": "old", "ExternalId": "e", "ManagedPolicyArns": "arn:a", "Organisation": "acme"}
    told = {one["ParameterKey"]: one.get("ParameterValue") for one in seed.target_parameters({"RoleName": "new"}, before)}
    assert told == {"RoleName": "new", "ExternalId": None, "ManagedPolicyArns": None, "Organisation": None}


def test_a_region_is_taken_as_most_programs_read_it(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    stacks.use_account()
    assert os.environ["AWS_DEFAULT_REGION"] == "eu-west-1"


def test_an_open_stack_is_said_to_be_open():
    here = {"name": "x", "authentication": "open", "awsEndpointUrl": "http://127.0.0.1:4566"}
    assert "OPEN: everyone on this machine" in stacks.warning(here)
    assert "loopback addresses alone" in stacks.warning({**here, "awsEndpointUrl": None})
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
