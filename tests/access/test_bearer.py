"""OIDC bearer tokens: of a real provider, and of those who would be one."""

import pytest

from client import is_problem
from infra.local import emulator
from provider import AUDIENCE, CLIENT, ISSUER, Key, claims, encode, fresh_kid, symmetric, unsigned

PAST, FUTURE = 1_700_000_000, 4_000_000_000


def who(people, token):
    return people.shows(token).ask("GET", "/v1/principal")


def test_a_token_of_the_provider_is_who_it_says(people, provider):
    found = who(people, provider.token()).json()
    assert {**found, "roles": set(found["roles"])} == {
        "id": f"{ISSUER}|pipeline", "kind": "oidc", "organisation": "alpha", "roles": {"viewer", "deployer:payments"}}


def test_a_token_of_the_provider_for_somebody_else_is_refused(people, provider):
    is_problem(who(people, provider.token("another-api")), 401, "unauthorized")


@pytest.mark.parametrize("name, organisation, roles", [
    ("ada", "alpha", {"viewer", "admin"}), ("berta", "beta", {"admin"}), ("vera", "alpha", {"viewer"})])
def test_claims_say_the_organisation_and_the_roles(name, organisation, roles, people, provider):
    found = who(people, provider.key.sign(claims(name))).json()
    assert (found["id"], found["organisation"], set(found["roles"])) == (f"{ISSUER}|{name}", organisation, roles)


def test_it_may_what_its_roles_say(people, provider):
    viewer = people.shows(provider.key.sign(claims("vera")))
    viewer.get("/v1/environments")
    is_problem(viewer.ask("PUT", "/v1/environments/x", {}), 403, "forbidden")


@pytest.mark.parametrize("changes", [
    {"aud": [AUDIENCE, "another"]},
    {"groups": "everybody"},
    {"nbf": PAST},
])
def test_what_providers_do_in_several_ways_is_taken(changes, people, provider):
    assert who(people, provider.key.sign(claims("vera", **changes))).status_code == 200


@pytest.mark.parametrize("changes", [
    {"aud": "another"}, {"aud": ["another"]}, {"aud": CLIENT}, {"aud": []}, {"aud": None}, {"aud": AUDIENCE + "x"},
    {"iss": "http://127.0.0.1:1"}, {"iss": ISSUER + "/"}, {"iss": ISSUER.upper()}, {"iss": None},
    {"exp": PAST}, {"exp": None}, {"exp": "tomorrow"},
    {"nbf": FUTURE},
    {"sub": None}, {"sub": ""}, {"sub": 7},
], ids=str)
def test_claims_that_are_not_right_are_refused(changes, people, provider):
    is_problem(who(people, provider.key.sign(claims("ada", **changes))), 401, "unauthorized")


@pytest.mark.parametrize("name, changes", [
    ("nobody", {}), ("vera", {"groups": []}), ("vera", {"groups": None}), ("vera", {"groups": {"everybody": True}}),
    ("lost", {}), ("vera", {"org": "Alpha"}), ("vera", {"org": "alpha#TOKEN"}), ("vera", {"org": ["alpha"]}),
    ("vera", {"org": ""}),
], ids=str)
def test_who_is_known_and_has_no_role_here_may_nothing(name, changes, people, provider):
    answer = who(people, provider.key.sign(claims(name, **changes)))
    # Without an organisation it is nobody's: whether that is said of it or of its rights.
    assert answer.status_code in ((403,) if "org" not in changes and name != "lost" else (401, 403)), answer.text
    is_problem(answer, answer.status_code, {401: "unauthorized", 403: "forbidden"}[answer.status_code])


def forged(provider):
    """Tokens that say the right things, and that the provider has not signed."""
    said, own, theirs = claims("ada"), provider.key, Key(provider.key.kid)
    good = own.sign(said)
    head, body, signature = good.split(".")
    return {
        "no algorithm": unsigned(said),
        "no algorithm, and a key": unsigned(said, kid=own.kid),
        "no algorithm, in capitals": unsigned(said, "None", kid=own.kid),
        "no algorithm, and a signature": unsigned(said, kid=own.kid) + signature,
        "the public key as a secret": symmetric(own.pem, own.kid, said),
        "the key of the set as a secret": symmetric(own.public_jwk()["n"].encode(), own.kid, said),
        "an empty secret": symmetric(b"", own.kid, said),
        "another key of the same name": theirs.sign(said),
        "another key of another name": Key(fresh_kid()).sign(said),
        "another key that it brings": theirs.sign(said, jwk=theirs.public_jwk()),
        "another key that it names an address for": theirs.sign(said, jku="http://127.0.0.1:1/jwks"),
        "another key that it names a certificate for": theirs.sign(said, x5u="http://127.0.0.1:1/certificate"),
        "a rule that has to be understood": own.sign(said, crit=["b64"], b64=False),
        "other claims": f"{head}.{encode(claims('berta'))}.{signature}",
        "no signature": f"{head}.{body}.",
        "a part of a signature": good[:-8],
        "two parts": f"{head}.{body}",
        "four parts": f"{good}.{signature}",
        "five parts": f"{good}.{signature}.{signature}",
        "no JSON": f"{encode(b'no')}.{encode(b'json')}.{signature}",
        "a list": f"{head}.{encode(b'[]')}.{signature}",
        "no base64": "%%%.%%%.%%%",
        "an algorithm that is none": own.sign(said, alg="RS257"),
        "an algorithm of another kind of key": own.sign(said, alg="ES256"),
        "nothing": "",
        "much": "a" * 5000,
    }


def test_what_the_provider_has_not_signed_is_refused(people, provider):
    answers = {what: who(people, token).status_code for what, token in forged(provider).items()}
    assert answers == {what: 401 for what in answers}
    assert who(people, provider.key.sign(claims("ada"))).status_code == 200


def test_another_key_is_taken_and_the_one_before_is_not_any_more(people, provider):
    before = provider.key
    assert who(people, before.sign(claims("vera"))).status_code == 200
    provider.rotate()

    def taken():
        now, then = provider.token(), before.sign(claims("vera"))
        return (who(people, now).status_code, who(people, then).status_code) == (200, 401)

    emulator.until(taken, 120, "the provider's other key is taken, and the one before is not")
