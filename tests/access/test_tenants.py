"""Two organisations in one stack. With everything that beta has, an administrator of alpha sees nothing of it and changes
nothing in it, and cannot tell it from what is nowhere.
"""

import base64
import json
import re

import pytest

from client import is_problem
from infra.local import emulator
from routes import PAGES, ROUTES, request
from world import PATIENCE, World, path, unknown

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
LISTS = ("/v1/environments", "/v1/applications", "/v1/resource-templates", "/v1/deployments", "/v1/resources",
         "/v1/tokens", "/v1/audit-events")
# Names are each organisation's own: these make alpha's, and have a test of their own.
OWN_NAMES = {("PUT", "/v1/environments/{environment}"), ("PUT", "/v1/applications/{application}"),
             ("PUT", "/v1/resource-templates/{type}/versions/{version}")}
HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def alpha(people):
    return people.somebody("alpha", "admin")


@pytest.fixture(scope="module")
def beta(people, records):
    """A world with a resource that terraform made, with everything published that can be, and at rest."""
    world = World(people.somebody("beta", "admin"))
    made = world.run({"made": {"type": world.type, "params": {"text": world.named("text")}}}, world.named("maker"))
    operation, = made["operations"]
    world.made_by, world.operation, world.made = made["id"], operation["id"], operation["resourceId"]
    for id in (world.resource, world.made):
        world.api.done("PATCH", f"/v1/resources/{id}", {"published": True})
    world.shared = world.named("shared")
    world.api.post("/v1/resources", {**world.outside(), "name": world.shared, "existingResourceId": world.named("arn-2")})
    world.elsewhere = world.named("elsewhere")
    world.api.put(f"/v1/environments/{world.elsewhere}", {})
    world.rest()

    def archived():
        deployments = [item for key, item in records("beta#DEP#").items() if key[1] == "META"]
        return all("log" in json.loads(item["body"]["S"])["body"] for item in deployments)

    emulator.until(archived, PATIENCE, "the logs of beta are archived")
    world.seen = view(world)
    yield world
    world.end()


def variants(beta):
    """All of beta's things, as many at once as a route has names."""
    names = beta.names()
    yield names
    yield {**names, "deployments": beta.made_by, "resources": beta.made, "open": beta.made_by,
           "cancelled": beta.made_by, "type": beta.parked}


def view(world):
    """Everything that the API shows of a world to who may see all; but no sensitive output, because that is noted."""
    found = {}
    for right, method, route in ROUTES:
        if method != "GET" or right in ("public", "readSecrets"):
            continue
        for names in variants(world):
            place = path(route, names)
            if place in found:
                continue
            answer = world.api.ask("GET", place)
            assert answer.status_code == 200, (place, answer.text)
            found[place] = world.api.every(place) if route in LISTS else answer.json()
    return re.sub(r'"lastUsedAt": ("[^"]*"|null)', "", json.dumps(found, sort_keys=True))


@pytest.fixture
def untouched(beta, records):
    """Checks that a test has left what the table has of beta; of tokens it may say when they were used."""
    def stored():
        items = records("beta#")
        return items.keys(), {key: item for key, item in items.items() if "#TOKEN#" not in key[0]}

    before = stored()
    yield
    assert stored() == before


def ask(client, method, route, names):
    given = request(method, route, names)
    headers = {**given.pop("headers", {}), **({} if route.startswith("/v1/") else HTML)}
    return client.ask(method, path(route, names), headers=headers, **given)


def told(answer, names):
    """An answer without what was asked for, and without what is different every time."""
    text = UUID.sub("<id>", answer.text)
    for name, value in sorted(names.items(), key=lambda pair: -len(pair[1])):
        text = text.replace(value, f"<{name}>")
    return answer.status_code, text


def nothing_of(beta, answer, *sent):
    """Checks that an answer has nothing of beta, but what was sent."""
    text = answer.text
    for value in sorted(sent, key=len, reverse=True):
        text = text.replace(value, "")
    assert beta.mark not in text, text
    assert not set(UUID.findall(text)) & set(UUID.findall(beta.seen)), text


@pytest.mark.usefixtures("untouched")
def test_every_route_with_what_beta_has_is_as_with_what_is_nowhere(alpha, beta):
    elsewhere = unknown()
    wrong = {}
    for _, method, route in ROUTES:
        names_something = "{" in route or (method, route) in {("POST", "/v1/deployments"), ("POST", "/v1/resources")}
        if (method, route) in OWN_NAMES or not names_something:
            continue
        expect = told(ask(alpha, method, route, elsewhere), elsewhere)
        for names in variants(beta):
            answer = ask(alpha, method, route, names)
            nothing_of(beta, answer, *names.values())
            if not is_nothing(method, answer) or told(answer, names) != expect:
                wrong[method, route] = (answer.status_code, answer.text, expect)
    assert wrong == {}


def is_nothing(method, answer):
    """Not there, or an empty list; a body that names what is not there is wrong."""
    if answer.status_code == 200:
        return answer.json().get("items") == []
    return answer.status_code == 404 or (answer.status_code == 422 and method == "POST")


@pytest.mark.usefixtures("untouched")
def test_every_page_with_what_beta_has_is_not_there(alpha, beta):
    for _, method, route in PAGES:
        for names in variants(beta):
            answer = ask(alpha, method, route, names)
            nothing_of(beta, answer, *names.values())
            # Lists are alpha's own.
            expect = 404 if "{" in route else 200
            assert answer.status_code == expect, (method, route, answer.status_code)


@pytest.mark.usefixtures("untouched")
def test_no_list_has_anything_of_beta_whatever_is_asked_for(alpha, beta, worlds):
    own = worlds("alpha")
    operation = beta.operation
    requested_by = beta.api.get("/v1/principal")["id"]
    request_id = beta.api.get(f"/v1/deployments/{beta.made_by}")["requestId"]
    questions = [(place, {"limit": "100"}) for place in LISTS]
    questions += [(place, {"environment": beta.environment}) for place in ("/v1/deployments", "/v1/resources")]
    questions += [
        ("/v1/deployments", {"application": beta.application}),
        ("/v1/resources", {"environment": beta.environment, "application": beta.application}),
        ("/v1/resources", {"type": beta.type}),
        ("/v1/resources", {"environment": own.environment, "application": beta.application}),
        *(("/v1/audit-events", query) for query in (
            {"resource": beta.made}, {"deployment": beta.made_by}, {"subject": beta.environment}, {"subject": beta.made},
            {"principal": requested_by}, {"requestId": request_id}, {"noun": "token", "subject": beta.token})),
        (f"/v1/deployments/{own.done}/logs", {"operation": operation}),
    ]
    for place, query in questions:
        answer = alpha.ask("GET", place, query=query)
        assert answer.status_code in (200, 404), (place, query, answer.text)
        nothing_of(beta, answer, *query.values())
        if answer.status_code == 200 and query != {"limit": "100"}:
            assert answer.json()["items"] == [], (place, query, answer.text)


def cursors(world):
    """Where lists and logs of a world go on."""
    for place in LISTS:
        cursor = world.api.get(place, limit=1)["nextCursor"]
        if cursor:
            yield place, cursor


@pytest.mark.usefixtures("untouched")
def test_no_list_goes_on_where_one_of_beta_stopped(alpha, beta):
    known = dict(cursors(beta))
    assert len(known) >= 4, known.keys()
    for place, cursor in known.items():
        answer = alpha.ask("GET", place, query={"cursor": cursor})
        is_problem(answer, 400, "cursor_invalid")
        nothing_of(beta, answer)


@pytest.mark.usefixtures("untouched")
def test_a_cursor_that_says_that_it_is_of_alpha_leads_into_alpha(alpha, beta):
    """A cursor is no secret: whoever takes it apart can put it together again."""
    for place, cursor in cursors(beta):
        day, dot, packed = cursor.rpartition(".")
        position = json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
        for changed in ({**position, "list": position["list"].replace("beta#", "alpha#")},
                        {name: text.replace("beta#", "alpha#") for name, text in position.items()}):
            forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip("=")
            answer = alpha.ask("GET", place, query={"cursor": f"{day}{dot}{forged}", "limit": "100"})
            assert answer.status_code in (200, 400), answer.text
            nothing_of(beta, answer)


@pytest.mark.usefixtures("untouched")
def test_a_log_does_not_go_on_where_one_of_beta_stopped(alpha, beta, worlds):
    own = worlds("alpha")
    position = beta.api.get(f"/v1/deployments/{beta.made_by}/logs", limit=1)["nextCursor"]
    assert position
    for id in (own.done, beta.made_by):
        for query, headers in (({"cursor": position}, {}), ({}, {"accept": "text/event-stream", "last-event-id": position})):
            answer = alpha.ask("GET", f"/v1/deployments/{id}/logs", query=query, headers=headers)
            assert answer.status_code == 404 if id == beta.made_by else answer.status_code < 500
            nothing_of(beta, answer, id, position)


@pytest.mark.usefixtures("untouched")
def test_what_alpha_has_is_not_bound_to_what_beta_has(alpha, beta, worlds):
    own, elsewhere = worlds("alpha"), unknown()

    def attempts(names):
        yield "POST", f"/v1/resources/{own.resource}/consumers", {
            "environment": names["environment"], "application": own.application}
        yield "POST", f"/v1/resources/{names['resources']}/consumers", {
            "environment": own.environment, "application": own.application}
        yield "DELETE", f"/v1/resources/{own.resource}/consumers/{names['consumer']}", None
        yield "DELETE", f"/v1/applications/{own.application}/environments/{names['environment']}", None
        yield "PUT", f"/v1/environments/{own.environment}/pools/{names['pool']}-x", {"type": names["type"], "size": 0}
        yield "GET", f"/v1/environments/{own.environment}/pools/{names['pool']}", None

    for mine, nowhere in zip(attempts(beta.names()), attempts(elsewhere)):
        answer = alpha.ask(*mine)
        assert answer.status_code in (404, 422), (mine, answer.text)
        assert told(answer, beta.names()) == told(alpha.ask(*nowhere), elsewhere), mine


def foretold(client, world, resource, environment=None):
    """What a dry run says of one resource: the answer, and where it is one, the operation."""
    body = world.request({"one": resource}, world.named("asks"), environment)
    answer = client.ask("POST", "/v1/deployments", body, query={"dryRun": "true"})
    return answer, answer.json()["operations"][0] if answer.status_code == 200 else None


@pytest.mark.usefixtures("untouched")
def test_a_file_of_alpha_does_not_use_what_beta_has_by_its_id(alpha, beta, worlds):
    own = worlds("alpha")
    for id, kind in ((beta.resource, beta.named("outside")), (beta.made, beta.type)):
        # In beta itself it does: nothing else is in the way.
        _, operation = foretold(beta.api, beta, {"type": kind, "reference": beta.existing(id)})
        assert (operation["effect"], operation["resourceId"]) == ("linked", id)
        nowhere = unknown()["resources"]
        answers = []
        for wanted in (id, nowhere):
            resource = {"type": own.named("outside"), "reference": own.existing(wanted)}
            answer = alpha.ask("POST", "/v1/deployments", own.request({"one": resource}, own.named("asks")))
            if answer.status_code == 202:
                ended = own.ended(answer.json()["id"])
                assert ended["status"] == "Failed", ended
                answers.append((202, ended["error"]["code"], UUID.sub("<id>", ended["error"]["detail"])))
            else:
                answers.append(told(answer, {}))
            nothing_of(beta, answer, id)
        assert answers[0] == answers[1]
        assert "resource_unusable" in str(answers[0])


@pytest.mark.usefixtures("untouched")
def test_a_file_of_alpha_finds_nothing_of_beta_by_a_name_or_by_matching(alpha, beta, worlds):
    own = worlds("alpha")
    text = {"text": beta.named("text")}
    shared = {"type": beta.named("outside"), "reference": {"mode": "shared", "name": beta.shared}}
    _, operation = foretold(beta.api, beta, shared)
    assert operation["effect"] == "linked"
    answer, _ = foretold(alpha, own, shared)
    is_problem(answer, 422, "resource_type_unknown")
    # The same type, the same parameters: what beta has published is all that there is of it.
    own.publish(beta.type)
    for scope in ("environment", "organisation", "global"):
        wanted = {"type": beta.type, "matching": {"scope": scope, "matchOn": ["text"]}, "params": text}
        answer, operation = foretold(alpha, own, wanted)
        assert operation["effect"] == "created", answer.text
        assert beta.made not in answer.text
    _, operation = foretold(beta.api, beta, wanted, beta.elsewhere)
    assert (operation["effect"], operation["resourceId"]) == ("linked", beta.made)
    # And what alpha has published of it, alpha finds.
    ended = own.run({"made": {"type": beta.type, "params": text}}, own.named("maker"))
    made = ended["operations"][0]["resourceId"]
    alpha.done("PATCH", f"/v1/resources/{made}", {"published": True})
    own_elsewhere = own.named("elsewhere")
    alpha.put(f"/v1/environments/{own_elsewhere}", {})
    _, operation = foretold(alpha, own, wanted, own_elsewhere)
    assert (operation["effect"], operation["resourceId"]) == ("linked", made)
    _, operation = foretold(beta.api, beta, wanted, beta.elsewhere)
    assert operation["resourceId"] == beta.made


@pytest.mark.usefixtures("untouched")
def test_a_name_is_each_organisations_own(alpha, beta):
    names = beta.names()
    for method, route in sorted(OWN_NAMES):
        assert ask(alpha, method, route, names).status_code in (200, 201), route
    resource = {"made": {"type": beta.type, "params": {"text": "of-alpha"}}}
    submitted = alpha.post("/v1/deployments", beta.request(resource))
    found = {}

    def ended():
        found.update(alpha.get(f"/v1/deployments/{submitted['id']}", wait=10))
        return found["status"] not in ("Pending", "InProgress")

    emulator.until(ended, PATIENCE, "alpha's deployment has ended")
    assert found["status"] == "Succeeded", found
    own, theirs = (client.get(f"/v1/resources/{id}") for client, id in (
        (alpha, found["operations"][0]["resourceId"]), (beta.api, beta.made)))
    assert own["environment"] == theirs["environment"]
    assert own["id"] != theirs["id"]
    for organisation, resource in (("alpha", own), ("beta", theirs)):
        assert f"/{organisation}/{beta.environment}/" in resource["stateLocation"]["location"]
    shown = alpha.ask("GET", f"/v1/environments/{beta.environment}/graph")
    nothing_of(beta, shown, *names.values())


def test_beta_looks_as_it_did(beta):
    """After all of the above."""
    assert view(beta) == beta.seen


def test_an_idempotency_key_is_each_organisations_own(people, worlds):
    """Also where two principals have the same name, and say the same."""
    mine, theirs = worlds("alpha"), worlds("beta")
    theirs.api.put(f"/v1/environments/{mine.environment}", {})
    body, key = {**mine.outside(), "existingResourceId": "one"}, {"idempotency-key": mine.mark}
    name = mine.named("ci")
    made = {}
    for organisation in ("beta", "alpha"):
        client = people.shows(people.token(organisation, "admin", name=name)["token"])
        first, again = (client.post("/v1/resources", body, **key) for _ in range(2))
        assert first["id"] == again["id"]
        made[organisation] = first["id"]
    assert made["alpha"] != made["beta"]
    assert mine.api.ask("GET", f"/v1/resources/{made['beta']}").status_code == 404
