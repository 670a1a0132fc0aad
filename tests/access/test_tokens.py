"""Service tokens: shown once, stored as a hash, for some roles and some time, revoked at once."""

import hashlib
import json
import re
from datetime import datetime, timedelta, timezone

import boto3
import pytest

from client import is_problem
from infra.local import emulator
from people import unique

TEXT = re.compile(r"cdr_alpha_([0-9a-f]{32})_([A-Za-z0-9_-]{43})")
FIELDS = {"id", "name", "roles", "createdAt", "createdBy", "expiresAt", "lastUsedAt"}


def at(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def soon(**time):
    return (datetime.now(timezone.utc) + timedelta(**time)).isoformat().replace("+00:00", "Z")


@pytest.fixture
def admin(people):
    return people.admin("alpha")


def test_a_token_is_shown_once(people, admin):
    made = people.token("alpha", "viewer", "deployer:staging")
    assert made.keys() == FIELDS | {"token"}
    id, _ = TEXT.fullmatch(made["token"]).groups()
    assert id == made["id"].replace("-", "")
    assert made["createdBy"] == admin.get("/v1/principal")["id"]
    assert made["lastUsedAt"] is None
    assert at(made["expiresAt"]) - at(made["createdAt"]) == timedelta(days=90)
    shown = {name: made[name] for name in FIELDS}
    assert admin.get(f"/v1/tokens/{made['id']}") == shown
    assert [token for token in admin.every("/v1/tokens") if token["id"] == made["id"]] == [shown]


def test_a_token_is_who_it_was_made_as(people):
    made = people.token("alpha", "viewer", "deployer:staging")
    assert people.shows(made["token"]).get("/v1/principal") == {
        "id": f"token:{made['name']}", "kind": "token", "organisation": "alpha", "roles": ["viewer", "deployer:staging"]}


def test_nothing_has_the_secret_but_who_was_given_it(people, admin, records, stack):
    made = people.token("alpha", "viewer")
    _, secret = TEXT.fullmatch(made["token"]).groups()
    hashed = hashlib.sha256(secret.encode()).hexdigest()
    people.shows(made["token"]).get("/v1/environments")
    people.shows(made["token"][:-4] + "AAAA").ask("GET", "/v1/environments")
    holders = []
    for key, item in records().items():
        text = json.dumps(item)
        assert secret not in text, key
        if hashed in text:
            holders.append(key[0])
    assert holders == [f"alpha#TOKEN#{made['id']}"]
    events = json.dumps(admin.every("/v1/audit-events", noun="token"))
    assert made["id"] in events
    assert secret not in events and hashed not in events
    emulator.until(lambda: messages(stack, f"token:{made['name']}"), 30, "its request is in the log")
    assert not messages(stack, secret) and not messages(stack, hashed)


def messages(stack, text):
    """The lines of the API's log that have a text."""
    logs = boto3.client("logs").get_paginator("filter_log_events")
    since = int((datetime.now() - timedelta(minutes=5)).timestamp() * 1000)
    # The emulator gives the oldest 10,000 and no more.
    pages = logs.paginate(
        logGroupName=f"/aws/lambda/{stack['functions']['api']}", startTime=since, filterPattern=f'"{text}"')
    return [event["message"] for page in pages for event in page["events"]]


def test_the_line_of_a_request_has_its_principal(people, stack):
    made = people.token("alpha", "viewer")
    principal = f"token:{made['name']}"
    for answer, expect in [(people.shows(made["token"]).ask("GET", "/v1/environments"), (200, principal)),
                           (people.shows(made["token"]).ask("GET", "/v1/tokens"), (403, principal)),
                           (people.nobody().ask("GET", "/v1/environments"), (401, None))]:
        id, found = answer.headers["x-request-id"], []

        def look():
            lines = [json.loads(line) for line in messages(stack, id) if line.startswith("{")]
            found[:] = [line for line in lines if line["message"] == "request" and line["requestId"] == id]
            return found

        emulator.until(look, 30, f"the request {id} is in the log")
        line, = found
        assert (line["status"], line.get("principal")) == expect
        if expect[1]:
            assert (line["principalKind"], line["organisation"]) == ("Token", "alpha")


def test_what_a_token_does_is_told_by_its_name(people, admin):
    made = people.token("alpha", "admin")
    application = unique("app")
    people.shows(made["token"]).done("PUT", f"/v1/applications/{application}")
    events = admin.every("/v1/audit-events", noun="application", subject=application)
    assert [(event["action"], event["principal"]) for event in events] == [("application.created", f"token:{made['name']}")]
    events = admin.every("/v1/audit-events", noun="token", subject=made["id"])
    assert [(event["action"], event["principal"]) for event in events] == [("token.created", made["createdBy"])]


def test_a_token_notes_that_it_was_used(people, admin):
    made = people.token("alpha", "viewer")
    people.shows(made["token"]).get("/v1/principal")
    used = admin.get(f"/v1/tokens/{made['id']}")["lastUsedAt"]
    assert at(made["createdAt"]) <= at(used) <= datetime.now(timezone.utc)


def test_a_revoked_token_is_refused_at_once(people, admin):
    made = people.token("alpha", "viewer")
    client = people.shows(made["token"])
    client.get("/v1/principal")
    admin.done("DELETE", f"/v1/tokens/{made['id']}")
    is_problem(client.ask("GET", "/v1/principal"), 401, "unauthorized")
    is_problem(admin.ask("GET", f"/v1/tokens/{made['id']}"), 404, "token_not_found")
    is_problem(admin.ask("DELETE", f"/v1/tokens/{made['id']}"), 404, "token_not_found")
    assert made["id"] not in [token["id"] for token in admin.every("/v1/tokens")]
    events = admin.every("/v1/audit-events", noun="token", subject=made["id"])
    assert sorted(event["action"] for event in events) == ["token.created", "token.revoked"]


def test_a_token_ends_when_it_says(people, admin, records):
    made = people.token("alpha", "viewer", expiresAt=soon(seconds=3))
    client = people.shows(made["token"])
    client.get("/v1/principal")
    # The table forgets it by itself, once it is of no use.
    item, = [item for key, item in records("alpha#TOKEN#").items() if key[0].endswith(made["id"]) and key[1] == "META"]
    assert abs(int(item["ttl"]["N"]) - at(made["expiresAt"]).timestamp()) <= 1
    emulator.until(lambda: client.ask("GET", "/v1/principal").status_code == 401, 15, "the token has expired")
    assert datetime.now(timezone.utc) >= at(made["expiresAt"])
    is_problem(admin.ask("GET", f"/v1/tokens/{made['id']}"), 404, "token_not_found")


@pytest.mark.parametrize("change", [
    lambda text: text[:-1],
    lambda text: text + "A",
    lambda text: text[:-5] + ("AAAAA" if text[-5:] != "AAAAA" else "BBBBB"),
    lambda text: text.upper(),
    lambda text: text.replace("cdr_", "CDR_"),
    lambda text: text.replace("_alpha_", "_beta_"),
    lambda text: text.replace("_alpha_", "_alpha#TOKEN#_"),
    lambda text: text.replace("_alpha_", "__"),
    lambda text: re.sub(r"[0-9a-f]{32}", "0" * 32, text),
    lambda text: "cdr_alpha",
    lambda text: "cdr_" + "x" * 4000,
    lambda text: "",
])
def test_another_text_is_nobody(change, people):
    text = people.token("alpha", "admin")["token"]
    is_problem(people.shows(change(text)).ask("GET", "/v1/principal"), 401, "unauthorized")


def test_a_token_is_a_bearers_alone(people):
    """Not a user's, not a cookie's, not in a query."""
    text = people.token("alpha", "admin")["token"]
    for headers in ({"authorization": f"Basic {text}"}, {"authorization": text}, {"x-api-key": text},
                    {"cookie": f"conductor={text}"}, {"cookie": f"__Host-conductor={text}"}):
        is_problem(people.nobody(**headers).ask("GET", "/v1/principal"), 401, "unauthorized")
    assert people.nobody().ask("GET", "/v1/principal", query={"access_token": text}).status_code == 401


@pytest.mark.parametrize("wrong, status, code, pointer", [
    ({"name": ""}, 422, "token_invalid", "/name"),
    ({"name": "a" * 101}, 422, "token_invalid", "/name"),
    ({"name": "a\nb"}, 422, "token_invalid", "/name"),
    ({"roles": []}, 422, "token_invalid", "/roles"),
    ({"expiresAt": soon(seconds=-1)}, 422, "token_invalid", "/expiresAt"),
    ({"expiresAt": soon(days=367)}, 422, "token_invalid", "/expiresAt"),
    ({"roles": ["root"]}, None, None, "/roles/0"),
    ({"roles": ["viewer:staging"]}, None, None, "/roles/0"),
    ({"roles": ["deployer:Not A Name"]}, None, None, "/roles/0"),
    ({"roles": "admin"}, 400, "body_invalid", "/roles"),
    ({"expiresAt": "tomorrow"}, None, None, "/expiresAt"),
    ({"organisation": "beta"}, 400, "body_invalid", None),
    ({"id": "0"}, 400, "body_invalid", None),
])
def test_a_token_that_is_not_valid_is_not_made(wrong, status, code, pointer, admin):
    before = len(admin.every("/v1/tokens"))
    answer = admin.ask("POST", "/v1/tokens", {"name": unique("wrong"), "roles": ["viewer"], **wrong})
    problem = answer.json()
    # A text that is no role is wrong whether the body or the token is blamed for it.
    is_problem(answer, status or problem["status"], code or problem["code"])
    assert (problem["status"], problem["code"]) in ((400, "body_invalid"), (422, "token_invalid"))
    if pointer:
        assert problem["errors"][0]["pointer"].startswith(pointer), problem
    assert len(admin.every("/v1/tokens")) == before


def test_an_organisation_has_at_most_100_tokens(people):
    """In an organisation where nobody else makes any; what an earlier run left counts."""
    admin = people.admin("gamma")
    body = {"name": "one-of-many", "roles": ["viewer"], "expiresAt": soon(days=1)}
    made = [token["id"] for token in admin.every("/v1/tokens")]
    while len(made) < 100:
        made.append(admin.post("/v1/tokens", body)["id"])
    is_problem(admin.ask("POST", "/v1/tokens", body), 409, "too_many_tokens")
    admin.done("DELETE", f"/v1/tokens/{made[0]}")
    admin.post("/v1/tokens", body)
    assert len(admin.every("/v1/tokens")) == 100
