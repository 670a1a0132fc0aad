"""Owns talking to the stack as somebody: each client is one principal, and shows answers as they come."""

import json

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from infra.local import REGION

PATIENCE = 40  # seconds for an answer: the gateway gives up after 29


class Signed(requests.auth.AuthBase):
    """Signs as an AWS SDK does."""

    def __init__(self, credentials):
        self.credentials = credentials

    def __call__(self, request):
        signed = AWSRequest(request.method, request.url, data=request.body)
        SigV4Auth(self.credentials, "execute-api", REGION).add_auth(signed)
        request.headers.update(dict(signed.headers))
        return request


class Client:
    def __init__(self, url, auth=None, headers=None):
        self.url = url
        self.session = requests.Session()
        # Neither a proxy nor a .netrc of this machine is for 127.0.0.1.
        self.session.trust_env = False
        self.session.auth = auth
        self.session.headers.update({"accept": "application/json", **(headers or {})})

    def ask(self, method, path, body=None, headers=None, query=None):
        """The answer, whatever it is; nothing is followed."""
        headers = dict(headers or {})
        if isinstance(body, dict):
            headers.setdefault("content-type", "application/json")
            body = json.dumps(body).encode()
        return self.session.request(method, self.url + path, params=query, data=body, headers=headers,
                                    allow_redirects=False, timeout=PATIENCE)

    def done(self, method, path, body=None, headers=None, query=None):
        """The JSON of an answer that has to be a success."""
        answer = self.ask(method, path, body, headers, query)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def get(self, path, **query):
        return self.done("GET", path, query=query)

    def post(self, path, body, **headers):
        return self.done("POST", path, body, headers)

    def put(self, path, body):
        return self.done("PUT", path, body)

    def every(self, path, **query):
        """All items of a list."""
        items, cursor = [], None
        while True:
            page = self.get(path, **query, limit=100, **({"cursor": cursor} if cursor else {}))
            items, cursor = items + page["items"], page["nextCursor"]
            if cursor is None:
                return items


def bearer(url, secret, **headers):
    """Who shows this text."""
    return Client(url, headers={"authorization": f"Bearer {secret}", **headers})


def is_problem(answer, status, code):
    """Checks that an answer is a problem with this status and code."""
    problem = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    found = (answer.status_code, problem.get("code"), answer.headers.get("content-type"))
    assert found == (status, code, "application/problem+json"), f"{answer.request.method} {answer.url}: {answer.text}"
