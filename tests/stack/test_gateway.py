"""What the gateway answers by itself has the same shape as what the functions answer."""

import json
import urllib.error
import urllib.request

import pytest


def test_the_gateways_own_errors_are_problem_json(stack):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(f"{stack['apiUrl']}/v1/environments", method="OPTIONS"))
    problem = json.load(caught.value)
    assert caught.value.headers["content-type"] == "application/problem+json"
    assert problem.pop("requestId")
    assert problem == {
        "type": "urn:conductor:problem:authentication_missing", "title": "Forbidden", "status": 403,
        "detail": "Missing Authentication Token", "code": "authentication_missing"}
