"""Owns the way to a deployed stack: what .local says about it, its AWS clients' settings, its HTTP API.

Speaks to the API as any client would: with the token in CONDUCTOR_TOKEN where there is one, signed where signatures count.
"""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from infra.local import LOCAL, REGION, STACK_NAME


def load(local=True, name=STACK_NAME):
    """The stack's description; from here on this process's AWS clients talk to where it is."""
    description = path(local, name)
    if not description.exists():
        sys.exit(f"there is no stack: {description.name} is missing; {'`make up` first' if local else '`make deploy` first, or `python -m infra.local.deploy --describe`'}")
    stack = json.loads(description.read_text())
    if local:
        use_emulator(stack["awsEndpointUrl"])
    else:
        use_account()
    return stack


def path(local, name):
    """Where a stack's description is."""
    return LOCAL / f"{'stack' if local else 'deployed'}{'' if name == STACK_NAME else f'-{name}'}.json"


def parser(documentation):
    """A command line that says which stack is meant: --local for the emulator, --name where there are several."""
    made = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--local", action="store_true")
    made.add_argument("--name", default=STACK_NAME)
    return made


def chosen(documentation):
    """The stack that the command line means."""
    options = parser(documentation).parse_args()
    return load(options.local, options.name)


def use_emulator(url):
    """Points every AWS client of this process and its children at the emulator, whose root user is `test`."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"):
        os.environ.pop(name, None)
    os.environ.update(
        AWS_ENDPOINT_URL=url, AWS_REGION=REGION, AWS_DEFAULT_REGION=REGION,
        AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test",
    )


def use_account():
    """The region of this process and its children where it is given as most programs read it, but not boto3."""
    if region := os.environ.get("AWS_REGION"):
        os.environ.setdefault("AWS_DEFAULT_REGION", region)


class Problem(Exception):
    """An answer that is an error: its status and, where there is one, its problem+json."""

    def __init__(self, method, path, status, body):
        self.status, self.body = status, body
        super().__init__(f"{method} {path}: {status} {body}")


class Api:
    def __init__(self, url, signed=False, token=None):
        self.url, self.signed, self.token = url, signed, token

    def get(self, path):
        return self.call("GET", path)

    def post(self, path, body):
        return self.call("POST", path, json.dumps(body).encode(), "application/json")

    def put(self, path, body):
        return self.call("PUT", path, json.dumps(body).encode(), "application/json")

    def delete(self, path):
        return self.call("DELETE", path)

    def call(self, method, path, body=None, content_type=None):
        """The answer's JSON; a Problem for every status from 400."""
        headers = {"accept": "application/json", **({"content-type": content_type} if content_type else {}),
                   **({"authorization": f"Bearer {self.token}"} if self.token else {})}
        if self.signed:
            session = boto3.session.Session()
            request = AWSRequest(method, self.url + path, data=body, headers=headers)
            SigV4Auth(session.get_credentials(), "execute-api", session.region_name).add_auth(request)
            headers = dict(request.headers)
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, body, headers, method=method), timeout=40) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                raise Problem(method, path, error.code, json.loads(text)) from None
            except json.JSONDecodeError:
                raise Problem(method, path, error.code, text) from None


def warning(stack):
    """What is said loudly of a stack that asks nobody who they are; None where it asks."""
    if stack["authentication"] != "open":
        return None
    if not stack["awsEndpointUrl"]:
        return f"*** Authentication=open: the stack {stack['name']!r} answers under loopback addresses alone, so to nobody. ***"
    return f"*** OPEN: everyone on this machine (it listens on 127.0.0.1 alone) is administrator of the stack {stack['name']!r}. ***"


def api(stack):
    token = os.environ.get("CONDUCTOR_TOKEN")
    if token:
        return Api(stack["bearerApiUrl"] or stack["apiUrl"], token=token)
    return Api(stack["apiUrl"], signed="iam" in stack["authentication"].split(","))
