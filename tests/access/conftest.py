"""Owns the stack that the tests of access look at: closed, with every way in, and several organisations in it."""

import re

import boto3
import pytest
import schemathesis.checks
import schemathesis.openapi

from infra.local import emulator, stack as stacks
from people import People
from provider import PUBLIC_HOST, Provider
from routes import CHECKS
from world import World


@pytest.fixture(scope="session")
def stack():
    return stacks.load(name="access")


@pytest.fixture(scope="session")
def people(stack):
    people = People(stack)
    yield people
    people.end()


@pytest.fixture(autouse=True)
def no_token_left(people):
    """An organisation has a hundred at most. Those of whole modules are made before, and stay."""
    before = len(people.tokens)
    yield
    people.revoke(before)


@pytest.fixture(scope="session")
def document(people):
    """What the API says of itself."""
    return schemathesis.openapi.from_dict(people.nobody().get("/openapi.json"))


@pytest.fixture(scope="session")
def conforms(document):
    """conforms(method, route, answer) checks that an answer of a route is one of those that the document has."""
    schemathesis.checks.load_all_checks()
    checks = schemathesis.checks.CHECKS.get_by_names(CHECKS)

    def conforms(method, route, answer):
        places = dict.fromkeys(re.findall(r"{(\w+)}", route), "x")
        document[route][method].Case(path_parameters=places).validate_response(answer, checks=checks)

    return conforms


@pytest.fixture(scope="session")
def records(stack):
    """records(prefix): the table's items whose partition begins so, by key; without when the sweeper is to look at them."""
    pages = boto3.client("dynamodb").get_paginator("scan")

    def records(prefix=""):
        scanned = pages.paginate(TableName=stack["table"], ConsistentRead=True)
        items = [item for page in scanned for item in page["Items"]]
        return {(item["pk"]["S"], item["sk"]["S"]): {name: value for name, value in item.items() if name != "due_at"}
                for item in items if item["pk"]["S"].startswith(prefix)}

    return records


@pytest.fixture
def worlds(people):
    """worlds(organisation): a world of its own."""
    made = []

    def make(organisation):
        made.append(World(people.somebody(organisation, "admin")))
        return made[-1]

    yield make
    for world in made:
        world.end()


@pytest.fixture(scope="session")
def provider(stack, people):
    path = "/login/callback"
    base = stack["bearerApiUrl"]
    stage = base.split("/", 3)[3]
    provider = Provider([base + path, f"https://{PUBLIC_HOST}/{stage}{path}"])
    try:
        provider.start()
        token = provider.token()
        # The API asks for keys that it does not know, but not twice at once: an earlier run may have had it ask.
        somebody = people.shows(token)
        emulator.until(lambda: somebody.ask("GET", "/v1/principal").ok, 60, "the API knows its keys")
        yield provider
    finally:
        provider.stop()
