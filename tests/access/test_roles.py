"""Every route × every role: who does not have a right is refused and changes nothing, who has it is not; and the docs have
the same table.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from client import is_problem
from infra.local import ROOT
from routes import PAGES, RIGHTS, ROUTES, may, request
from world import path, unknown

WALK = [*(row for row in ROUTES if row[1] != "DELETE"), *PAGES, *(row for row in ROUTES if row[1] == "DELETE")]
HTML = {"accept": "text/html"}
# `{environment}` is the one where everything is.
ROLES = ("viewer", "deployer", "deployer:{environment}", "deployer:elsewhere", "platform", "secretReader",
         "secretReader:{environment}", "secretReader:elsewhere", "admin")


def ask(client, names, method, route):
    given = request(method, route, names)
    headers = {**given.pop("headers", {}), **(HTML if (method, route) in {row[1:] for row in PAGES} else {})}
    return client.ask(method, path(route, names), headers=headers, **given)


def test_the_table_has_every_route(document):
    documented = {(method.upper(), route) for route, methods in document.items() for method in methods
                  if method in ("get", "put", "post", "patch", "delete")}
    assert {row[1:] for row in ROUTES} == documented


def test_the_table_has_every_page():
    sources = (ROOT / "functions/api/src/dashboard").rglob("*.rs")
    routes = {route for source in sources for route in re.findall(r'\.route\(\s*"([^"]+)"', source.read_text())}
    nobodys = {"/assets/{version}/{file}", "/login", "/login/callback", "/logout"}
    assert {row[2] for row in PAGES} == routes - nobodys


def test_the_docs_have_the_same_table():
    section = (ROOT / "docs/api.md").read_text().split("\n## Roles\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    found = {row[0].strip("`"): (set(re.findall(r"`(.+?)`", row[1])), set(re.findall(r"`([A-Z]+ /.+?)`", row[2])))
             for row in rows if len(row) == 3}
    assert {right: roles for right, (roles, _) in found.items()} == RIGHTS
    # Of what is seen the docs say that it is the rest.
    for right in RIGHTS.keys() - {"view"}:
        assert found[right][1] == {f"{method} {route}" for needs, method, route in ROUTES if needs == right}, right


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_its_own_routes_and_no_other(role, people, worlds, records, conforms):
    world = worlds("alpha")
    names = world.names()
    role = role.format(environment=world.environment)
    client = people.somebody("alpha", role)
    refused = [row for row in WALK if not may(role, row[0], world.environment)]
    before = quiet(records("alpha#"), world)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda row: ask(client, names, *row[1:]), refused))
    wrong = {row[1:]: answer.status_code for row, answer in zip(refused, answers) if answer.status_code != 403}
    assert wrong == {}
    for row, answer in zip(refused, answers):
        if row in ROUTES:
            is_problem(answer, 403, "forbidden")
    assert quiet(records("alpha#"), world) == before
    assert not world.api.get(f"/v1/deployments/{world.open}").get("cancel")

    wrong = {}
    for row in WALK:
        if row in refused:
            continue
        answer = ask(client, names, *row[1:])
        # 409 and the like: it was let in, and it cannot be.
        if answer.status_code in (401, 403, 404, 405, 415) or answer.status_code >= 500:
            wrong[row[1:]] = answer.text
        elif row in ROUTES:
            conforms(*row[1:], answer)
    assert wrong == {}


def quiet(items, world):
    """Without what changes by itself: a deployment that waits for a worker, and when tokens were used."""
    return {key: item for key, item in items.items() if world.open not in key[0] and "#TOKEN#" not in key[0]}


def test_an_output_that_is_not_sensitive_is_seen_by_all(people, worlds):
    world = worlds("alpha")
    for role in ("viewer", "deployer", "platform", "secretReader:elsewhere"):
        client = people.somebody("alpha", role)
        assert client.get(f"/v1/resources/{world.resource}/outputs/host")["value"] == world.named("host")
        shown = client.ask("GET", f"/v1/resources/{world.resource}/outputs/password")
        is_problem(shown, 403, "forbidden")
        assert world.named("pass") not in shown.text


def test_what_is_not_there_is_not_there_for_anybody_who_may_look(people):
    """Who may deploy in one environment only gets no 403 for an id that does not exist, so that 403 tells of none."""
    client = people.somebody("alpha", "deployer:elsewhere")
    for method, route in (("POST", "/v1/deployments/{id}/cancel"), ("POST", "/v1/deployments/{id}/retry"),
                          ("DELETE", "/v1/resources/{id}"), ("DELETE", "/v1/resources/{id}/consumers/{consumer}")):
        assert ask(client, unknown(), method, route).status_code == 404, route


def test_who_has_no_role_sees_nothing(people, worlds):
    """An AWS identity that the gateway lets in, and that nobody has given a role."""
    names = worlds("alpha").names()
    stranger = people.user("access-stranger")
    for right, method, route in ROUTES:
        answer = ask(stranger, names, method, route)
        if right == "public":
            assert answer.status_code == 200, route
        else:
            is_problem(answer, 403, "forbidden")


@pytest.mark.usefixtures("provider")
def test_who_is_nobody_is_asked_who_it_is(people, worlds):
    names = worlds("alpha").names()
    nobody = people.nobody()
    for right, method, route in ROUTES:
        answer = ask(nobody, names, method, route)
        if right == "public":
            assert answer.status_code == 200, route
        else:
            is_problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer"), route
    for _, method, route in PAGES:
        answer = ask(nobody, names, method, route)
        assert answer.status_code == (303 if method == "GET" else 401), (method, route)
        if method == "GET":
            assert urlsplit(answer.headers["location"]).path.endswith("/login"), route
    for public in ("/health", "/openapi.json", "/login"):
        assert nobody.ask("GET", public).status_code < 400, public


def test_what_is_no_route_tells_nothing(people):
    for place in ("/v2", "/v1", "/v1/nothing", "/v1/environments/x/nothing", "/admin"):
        is_problem(people.nobody().ask("GET", place), 404, "route_not_found")
