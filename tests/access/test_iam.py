"""AWS identities: the gateway checks who signed, and the map says who that is here."""

import boto3
import pytest
from botocore.credentials import Credentials

from client import Client, Signed, is_problem
from people import unique


class ForAnother(Signed):
    """A signature of another request."""

    def __call__(self, request):
        sent, request.url = request.url, request.url + "/x"
        signed = super().__call__(request)
        signed.url = sent
        return signed


def test_an_unsigned_request_gets_no_further_than_the_gateway(stack):
    is_problem(Client(stack["apiUrl"]).ask("GET", "/v1/environments"), 403, "authentication_missing")


def test_a_wrong_signature_is_refused(stack, people):
    key = people.key("access-alpha")
    guessed = Signed(Credentials(key.access_key, "guessed"))
    for auth in (guessed, ForAnother(key)):
        is_problem(Client(stack["apiUrl"], auth).ask("GET", "/v1/principal"), 403, "signature_invalid")
    people.signed(key).get("/v1/principal")


def test_an_unknown_key_is_refused(stack):
    stranger = Client(stack["apiUrl"], Signed(Credentials("AKIAUNKNOWNUNKNOWN00", "guessed")))
    assert stranger.ask("GET", "/v1/principal").status_code in (400, 403)


def test_a_user_is_what_the_map_says(people, stack):
    found = people.user("access-reader").get("/v1/principal")
    assert found.pop("id").endswith(":user/access-reader")
    assert found == {"kind": "iam", "organisation": "alpha", "roles": ["viewer", "deployer:staging"]}
    assert people.admin("beta").get("/v1/principal")["organisation"] == "beta"


def test_who_takes_a_role_is_what_the_map_says_of_the_role_whatever_its_path(people):
    found = people.session("access-platform", "/teams/").get("/v1/principal")
    assert found.pop("id").endswith(":assumed-role/access-platform/a-test")
    assert found == {"kind": "iam", "organisation": "beta", "roles": ["platform"]}


def test_whose_organisation_is_not_said_is_of_the_stacks_own(people, stack):
    """Whoever deployed the stack is the first administrator, and here the account itself."""
    function = boto3.client("lambda").get_function_configuration(FunctionName=stack["functions"]["api"])
    found = people.signed(Credentials("test", "test")).get("/v1/principal")
    assert found["organisation"] == function["Environment"]["Variables"]["ORGANISATION"]
    assert (found["id"].rsplit(":", 1)[1], found["roles"]) == ("root", ["admin"])


def test_its_roles_hold_where_they_say(people):
    reader = people.user("access-reader")
    reader.get("/v1/deployments")
    dry_run = {"query": {"dryRun": "true"}}
    body = {"environment": "production", "application": "shop", "score": {"resources": {}}}
    is_problem(reader.ask("POST", "/v1/deployments", body, **dry_run), 403, "forbidden")
    answer = reader.ask("POST", "/v1/deployments", {**body, "environment": "staging"}, **dry_run)
    assert answer.status_code not in (401, 403), answer.text
    is_problem(reader.ask("PUT", f"/v1/environments/{unique('env')}", {}), 403, "forbidden")


def test_who_is_not_in_the_map_may_nothing(people):
    for stranger in (people.user("access-stranger"), people.session("access-strange-role", "/")):
        is_problem(stranger.ask("GET", "/v1/principal"), 403, "forbidden")
        is_problem(stranger.ask("PUT", f"/v1/environments/{unique('env')}", {}), 403, "forbidden")


def test_what_it_does_is_told_by_its_arn(people):
    admin, application = people.admin("alpha"), unique("app")
    admin.done("PUT", f"/v1/applications/{application}")
    event, = admin.every("/v1/audit-events", noun="application", subject=application)
    assert event["principal"] == admin.get("/v1/principal")["id"]


@pytest.mark.parametrize("text", [None, "eyJhbGciOiJub25lIn0.e30."])
def test_the_gateway_that_wants_signatures_takes_no_bearer(text, stack, people):
    text = text or people.token("alpha", "admin")["token"]
    answer = Client(stack["apiUrl"], headers={"authorization": f"Bearer {text}"}).ask("GET", "/v1/principal")
    assert answer.status_code in (400, 403), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_gateway_that_wants_none_knows_nobody_by_a_signature(stack, people):
    """Nobody has checked it there."""
    for key in (people.key("access-alpha"), Credentials("test", "test")):
        signed = Client(stack["bearerApiUrl"], Signed(key))
        is_problem(signed.ask("GET", "/v1/principal"), 401, "unauthorized")


def test_nobody_says_who_they_are_in_a_header(stack, people):
    """What the gateway knows of a caller does not come from the caller."""
    arn = people.admin("alpha").get("/v1/principal")["id"]
    for name in ("x-amzn-request-context", "x-apigateway-event", "x-user-arn", "x-amz-user-arn"):
        forged = Client(stack["bearerApiUrl"], headers={name: f'{{"identity": {{"userArn": "{arn}"}}}}'})
        is_problem(forged.ask("GET", "/v1/principal"), 401, "unauthorized")
