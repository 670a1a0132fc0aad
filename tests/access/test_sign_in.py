"""The dashboard's sign-in against a real OpenID provider: the code flow with PKCE, sessions, and what other sites cannot
do with them.
"""

import hashlib
import json
import re
from urllib.parse import urlencode, urlsplit

import pytest

from client import is_problem
from provider import CLIENT, ISSUER, PUBLIC_HOST
from visitor import HTML, SAME_ORIGIN, Visitor, query_of, set_by, with_query

AS_API = {"accept": "application/json", **SAME_ORIGIN}
SESSION, TLS_SESSION = "conductor", "__Host-conductor"
EIGHT_HOURS, TEN_MINUTES = 8 * 3600, 600


@pytest.fixture
def visitor(stack, provider):
    return Visitor(stack["bearerApiUrl"])


@pytest.fixture
def ada(visitor):
    """Somebody who has signed in."""
    assert visitor.sign_in("ada").status_code == 200
    assert SESSION in visitor.cookies
    return visitor


def refused(answer, visitor):
    """Whether a sign-in has failed, and left nothing."""
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"].startswith("text/html"), answer.headers
    assert not visitor.cookies.keys() & {SESSION, TLS_SESSION}
    assert visitor.principal().status_code == 401
    return True


def test_the_provider_is_asked_for_a_code_with_pkce_a_state_and_a_nonce(stack, visitor):
    answer = visitor.ask("GET", "/login")
    address = answer.headers["location"]
    asked = query_of(address)
    assert address.startswith(ISSUER.replace("127.0.0.1", "localhost") + "/auth?")
    assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
    assert asked["redirect_uri"] == stack["bearerApiUrl"] + "/login/callback"
    assert asked["code_challenge_method"] == "S256"
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", asked["code_challenge"])
    assert "openid" in asked["scope"].split()
    other = query_of(Visitor(stack["bearerApiUrl"]).begin())
    for secret in ("state", "nonce", "code_challenge"):
        assert len(asked[secret]) >= 22, secret
        assert asked[secret] != other[secret], secret
    cookie, = set_by(answer).values()
    assert cookie.attributes.keys() >= {"httponly"}
    assert cookie.attributes["samesite"] == "Lax"
    assert 0 < int(cookie.attributes["max-age"]) <= TEN_MINUTES


def test_who_has_signed_in_has_a_session(visitor):
    answer = visitor.sign_in("ada")
    assert answer.status_code == 200
    # A redirect that began at another site brings no Strict cookie; a page that goes on does.
    assert re.search(r'<meta http-equiv="?refresh"?', answer.text), answer.text
    cookie = set_by(answer)[SESSION]
    assert {name: cookie.attributes.get(name) for name in ("httponly", "samesite", "path", "domain")} == {
        "httponly": "", "samesite": "Strict", "path": "/", "domain": None}
    assert 0 < int(cookie.attributes["max-age"]) <= EIGHT_HOURS
    # What was kept for the sign-in is gone.
    assert visitor.cookies.keys() == {SESSION}
    principal = visitor.principal().json()
    assert {**principal, "roles": sorted(principal["roles"])} == {
        "id": f"{ISSUER}|ada", "kind": "oidc", "organisation": "alpha", "roles": ["admin", "viewer"]}
    page = visitor.ask("GET", "/")
    assert page.status_code == 200
    assert "ada" in page.text
    assert re.search(r'<form[^>]*action="?[^ >"]*/logout', page.text), "the page has no sign-out"


def test_over_tls_the_cookie_goes_over_tls_alone_and_to_this_host_alone(stack, provider):
    visitor = Visitor(stack["bearerApiUrl"], PUBLIC_HOST)
    address = visitor.begin()
    assert query_of(address)["redirect_uri"].startswith(f"https://{PUBLIC_HOST}/")
    answer = visitor.come_back(visitor.sign_in_at(address, "ada"))
    assert answer.status_code == 200, answer.text
    cookie = set_by(answer)[TLS_SESSION]
    assert {name: cookie.attributes.get(name) for name in ("httponly", "secure", "samesite", "path", "domain")} == {
        "httponly": "", "secure": "", "samesite": "Strict", "path": "/", "domain": None}
    assert visitor.principal().status_code == 200


def test_a_session_is_stored_as_a_hash_and_is_no_service_token(ada, people, records):
    secret = ada.cookies[SESSION][-43:]
    hashed = hashlib.sha256(secret.encode()).hexdigest()
    items = {key: json.dumps(item) for key, item in records().items()}
    assert not [key for key, text in items.items() if secret in text]
    holder, = [key for key, text in items.items() if hashed in text]
    assert holder[0].startswith("alpha#TOKEN#")
    tokens = people.admin("alpha").every("/v1/tokens")
    assert holder[0].removeprefix("alpha#TOKEN#") not in [token["id"] for token in tokens]
    is_problem(people.shows(ada.cookies[SESSION]).ask("GET", "/v1/principal"), 401, "unauthorized")


def test_another_state_is_refused(visitor):
    back = visitor.sign_in_at(visitor.begin(), "ada")
    for changes in ({"state": "another"}, {"state": None}, {"state": ""}):
        assert refused(visitor.come_back(with_query(back, **changes)), visitor)


def test_a_code_of_another_browser_is_refused(visitor, stack):
    """Who follows a link with somebody else's code is not signed in as them."""
    back = visitor.sign_in_at(visitor.begin(), "ada")
    with_nothing = Visitor(stack["bearerApiUrl"])
    assert refused(with_nothing.come_back(back), with_nothing)
    another = Visitor(stack["bearerApiUrl"])
    state = query_of(another.begin())["state"]
    assert refused(another.come_back(with_query(back, state=state)), another)


def test_another_nonce_is_refused(visitor):
    address = with_query(visitor.begin(), nonce="another-nonce-of-enough-characters")
    assert refused(visitor.come_back(visitor.sign_in_at(address, "ada")), visitor)


def test_the_verifier_is_sent(visitor):
    """The provider refuses the code of a challenge that is not the verifier's."""
    address = with_query(visitor.begin(), code_challenge="A" * 43)
    assert refused(visitor.come_back(visitor.sign_in_at(address, "ada")), visitor)


def test_a_code_is_used_once(visitor):
    address = visitor.begin()
    kept = dict(visitor.cookies)
    back = visitor.sign_in_at(address, "ada")
    assert visitor.come_back(back).status_code == 200
    # A browser that has forgotten nothing.
    visitor.cookies = kept
    assert refused(visitor.come_back(back), visitor)


@pytest.mark.parametrize("query", [
    {"code": None}, {"code": ""}, {"code": "another"}, {"code": None, "error": "access_denied"}], ids=str)
def test_without_a_code_nobody_is_signed_in(query, visitor):
    back = visitor.sign_in_at(visitor.begin(), "ada")
    assert refused(visitor.come_back(with_query(back, **query)), visitor)


def test_whom_the_provider_does_not_know_is_not_signed_in(visitor):
    assert refused(visitor.sign_in("a-stranger"), visitor)


def test_who_has_no_role_here_gets_no_session(visitor):
    answer = visitor.sign_in("nobody")
    assert answer.status_code == 403
    assert refused(answer, visitor)


def test_what_the_provider_says_is_not_written_into_the_page_as_it_comes(visitor):
    back = visitor.sign_in_at(visitor.begin(), "ada")
    answer = visitor.come_back(with_query(back, code=None, error="<script>alert(1)</script>",
                                          error_description="<img src=x onerror=alert(1)>"))
    assert refused(answer, visitor)
    assert "<script>alert" not in answer.text and "<img" not in answer.text


def test_signing_out_ends_the_session(ada):
    kept = dict(ada.cookies)
    answer = ada.act("/logout", **SAME_ORIGIN)
    assert answer.status_code == 200, answer.text
    assert SESSION not in ada.cookies
    # Also for who has kept the cookie.
    ada.cookies = kept
    assert ada.principal().status_code == 401
    page = ada.ask("GET", "/")
    assert page.status_code == 303
    assert urlsplit(page.headers["location"]).path.endswith("/login")


def test_an_administrator_ends_the_sessions_of_somebody_and_of_nobody_else(ada, stack, people):
    again, vera = Visitor(stack["bearerApiUrl"]), Visitor(stack["bearerApiUrl"])
    assert (again.sign_in("ada").status_code, vera.sign_in("vera").status_code) == (200, 200)
    query = {"principal": f"{ISSUER}|ada"}
    people.admin("beta").done("DELETE", "/v1/sessions", query=query)
    is_problem(vera.ask("DELETE", f"/v1/sessions?{urlencode(query)}", headers=AS_API), 403, "forbidden")
    assert [one.principal().status_code for one in (ada, again, vera)] == [200, 200, 200]
    admin = people.admin("alpha")
    before = {event["id"] for event in admin.every("/v1/audit-events", action="session.ended")}
    answer = admin.ask("DELETE", "/v1/sessions", query=query)
    assert (answer.status_code, answer.content) == (204, b"")
    assert [one.principal().status_code for one in (ada, again, vera)] == [401, 401, 200]
    events = admin.every("/v1/audit-events", action="session.ended")
    told = {(event["noun"], event["detail"], event["principal"]) for event in events if event["id"] not in before}
    assert told == {("token", query["principal"], admin.get("/v1/principal")["id"])}


def test_a_link_does_not_sign_out(ada):
    assert ada.ask("GET", "/logout").status_code == 405
    assert ada.principal().status_code == 200


def test_another_cookie_is_nobody(ada, stack):
    shown = ada.cookies[SESSION]
    for text in (shown[:-5] + ("AAAAA" if shown[-5:] != "AAAAA" else "BBBBB"), shown.replace("alpha", "beta"), "", "x"):
        other = Visitor(stack["bearerApiUrl"])
        other.cookies = {SESSION: text}
        assert other.principal().status_code == 401, text


def test_a_session_may_what_its_roles_say(visitor, people, worlds):
    world = worlds("alpha")
    visitor.sign_in("vera")
    assert visitor.ask("GET", f"/deployments/{world.done}").status_code == 200
    answer = visitor.act(f"/deployments/{world.open}/cancel", **SAME_ORIGIN)
    assert answer.status_code == 403
    assert world.api.get(f"/v1/deployments/{world.open}")["status"] == "InProgress"


@pytest.mark.parametrize("headers", [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    # Whoever is a browser says one of them; who shows its cookie and says neither is none.
    {},
], ids=str)
def test_another_site_does_nothing_with_the_session(headers, ada, worlds):
    world = worlds("alpha")
    before = world.api.get(f"/v1/deployments/{world.open}")
    name = f"app-made-by-{world.mark}"
    for method, path in (("POST", f"/deployments/{world.open}/cancel"), ("POST", f"/deployments/{world.cancelled}/retry"),
                         ("POST", f"/applications/{world.application}/environments/{world.environment}/teardown"),
                         ("POST", f"/v1/deployments/{world.open}/cancel"), ("PUT", f"/v1/applications/{name}"),
                         ("DELETE", f"/v1/resources/{world.resource}/consumers/{world.consumer}"),
                         ("POST", "/v1/tokens"), ("POST", "/logout")):
        given = {"accept": "application/json" if path.startswith("/v1/") else "text/html", **headers}
        answer = ada.ask(method, path, b"", given)
        assert answer.status_code == 403, (path, answer.text)
        if path.startswith("/v1/"):
            is_problem(answer, 403, "cross_site_refused")
    assert ada.principal().status_code == 200
    after = world.api.get(f"/v1/deployments/{world.open}")
    assert (after["status"], after.get("cancel")) == (before["status"], before.get("cancel"))
    assert world.api.ask("GET", f"/v1/applications/{name}").status_code == 404
    running = world.api.every("/v1/deployments", environment=world.environment)
    assert {one["id"] for one in running} == {world.done, world.open, world.cancelled}


def test_a_page_of_our_own_does_what_it_says(ada, worlds, stack):
    world = worlds("alpha")
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(stack["bearerApiUrl"]))
    answer = ada.act(f"/deployments/{world.open}/cancel", origin=origin)
    assert answer.status_code == 303, answer.text
    assert world.ended(world.open)["cancel"]["requestedBy"] == f"{ISSUER}|ada"


def test_a_page_for_people_leads_to_the_sign_in_and_the_api_says_who_may(visitor):
    page = visitor.ask("GET", "/deployments", headers=HTML)
    assert page.status_code == 303
    assert urlsplit(page.headers["location"]).path.endswith("/login")
    is_problem(visitor.ask("GET", "/v1/deployments", headers={"accept": "application/json"}), 401, "unauthorized")


@pytest.mark.parametrize("to", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"])
def test_who_signs_in_is_not_sent_elsewhere(to, visitor, stack):
    began = visitor.ask("GET", "/login?" + urlencode({"to": to}))
    answer = visitor.come_back(visitor.sign_in_at(began.headers["location"], "ada"))
    assert answer.status_code == 200
    place = re.search(r'http-equiv="refresh" content="0; url=([^"]*)"', answer.text)[1]
    assert place == urlsplit(stack["bearerApiUrl"]).path + "/"
    assert "evil" not in answer.text and "javascript:" not in answer.text
