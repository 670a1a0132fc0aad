"""Owns the story that `make demo` plays on a running stack: four days of two teams and one table.

Speaks to Conductor only over its HTTP API, and looks at what became of it with the AWS API. Exits with 1 if anything
was not as told.

    python -m infra.local.demo [--builtin]

--builtin plays it without the AWS provider, as it does by itself where there is none.
"""

import json
import re
import sys
import time
from datetime import datetime
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

from infra.local import stack as stacks

FILES = Path(__file__).parent / "demo"
ENVIRONMENT = "dev"
DEADLINE = 300  # seconds that one deployment may take


class Story:
    def __init__(self, stack, builtin):
        self.stack, self.builtin = stack, builtin
        self.api = stacks.api(stack)
        self.began = time.monotonic()
        self.wrong = 0

    def play(self):
        self.tidy()

        self.say("day 1: orders deploys a Score file with a shared table, a bucket of its own and a note that needs both")
        first = self.deploy("orders")
        self.effects(first, table="created", bucket="created", note="created")
        table, bucket, note = (self.resource(first, name) for name in ("table", "bucket", "note"))
        text = value(note, "text") or ""
        self.check("the note got the outputs of both", name_of(table) in text and name_of(bucket) in text)
        for resource in (table, bucket, note):
            self.check(f"{resource['name']}: the state is in S3, and no lock on it",
                       self.state(resource) and not self.state(resource, ".tflock"))
        self.cloud(table, there=True)
        self.cloud(bucket, there=True)
        state_before = self.state(table)

        self.say("day 7: billing names the same table")
        second = self.deploy("billing")
        self.effects(second, table="linked")
        self.check(f"done {milliseconds(second)} ms after it was asked for, without a terraform run",
                   by_resource(second)["table"]["attempts"] == 0)
        same = self.resource(second, "table")
        self.check("it is the same resource, with the same outputs",
                   same["id"] == table["id"] and same["outputs"] == table["outputs"])
        self.check("nobody wrote its state since day 1", self.state(table) == state_before)
        self.consumers(table, "orders", "billing")

        self.say("day 14: orders is torn down")
        third = self.teardown("orders")
        self.effects(third, table="released", bucket="destroyed", note="destroyed")
        self.cloud(bucket, there=False)
        self.cloud(table, there=True)
        self.consumers(table, "billing")

        self.say("day 21: billing is torn down")
        fourth = self.teardown("billing")
        self.effects(fourth, table="destroyed")
        self.cloud(table, there=False)
        for resource in (table, bucket, note):
            self.check(f"{resource['name']}: state and lock are gone",
                       not self.state(resource) and not self.state(resource, ".tflock"))

    def tidy(self):
        """What a demo that was stopped half-way has left."""
        for application in ("orders", "billing"):
            if self.api.get(f"/v1/resources?environment={ENVIRONMENT}&application={application}")["items"]:
                self.say(f"before: {application} is still there from another time, and is torn down")
                self.teardown(application)

    # What Conductor is asked

    def deploy(self, application):
        kind = ".builtin" if self.builtin else ""
        score = (FILES / f"{application}{kind}.score.yaml").read_text()
        return self.follow(self.api.post(
            "/v1/deployments", {"application": application, "environment": ENVIRONMENT, "score": score}))

    def teardown(self, application):
        return self.follow(self.api.delete(f"/v1/applications/{application}/environments/{ENVIRONMENT}"))

    def follow(self, deployment):
        """Shows each operation as it changes, until the deployment has ended."""
        shown = {}
        deadline = time.monotonic() + DEADLINE
        while True:
            for operation in deployment["operations"]:
                state = operation.get("effect") or operation["status"]
                if shown.get(operation["id"]) != state:
                    shown[operation["id"]] = state
                    self.say(f"  {operation['resource']:<8} {operation['type']:<15} {state}")
            if deployment["status"] not in ("Pending", "InProgress"):
                break
            if time.monotonic() > deadline:
                self.check(f"the deployment ended within {DEADLINE} s", False)
                break
            deployment = self.api.get(f"/v1/deployments/{deployment['id']}?wait=1")
        self.check(f"the deployment: {deployment['status']}", deployment["status"] == "Succeeded")
        for problem in [deployment, *deployment["operations"]]:
            if problem.get("error"):
                print(json.dumps(problem["error"], indent=2))
        return deployment

    def resource(self, deployment, name):
        return self.api.get(f"/v1/resources/{by_resource(deployment)[name]['resourceId']}")

    # What must be so

    def effects(self, deployment, **expected):
        actual = {name: by_resource(deployment)[name].get("effect") for name in expected}
        told = ", ".join(f"{name} {effect}" for name, effect in expected.items())
        self.check(told if actual == expected else f"{told}; but it was {actual}", actual == expected)

    def consumers(self, resource, *applications):
        found = {consumer.get("application") for consumer in self.api.get(f"/v1/resources/{resource['id']}")["consumers"]}
        self.check(f"{resource['name']} is used by {' and '.join(applications)}", found - {None} == set(applications))

    def cloud(self, resource, there):
        """Asks AWS itself; a built-in resource is nowhere but in its state."""
        if resource["type"] == "s3":
            found = exists(boto3.client("s3").head_bucket, Bucket=value(resource, "bucket"))
        elif resource["type"] == "dynamodb-table":
            found = exists(boto3.client("dynamodb").describe_table, TableName=value(resource, "name"))
        else:
            return
        self.check(f"AWS: {name_of(resource)} is {'there' if there else 'gone'}", bool(found) == there)

    def state(self, resource, suffix=""):
        """The version of the state object (or of its lock), None where there is none."""
        key = re.sub(r"^s3://[^/]+/", "", resource["stateLocation"]["location"]) + suffix
        head = exists(boto3.client("s3").head_object, Bucket=self.stack["stateBucket"], Key=key)
        return head and head["VersionId"]

    def check(self, what, as_told):
        self.wrong += not as_told
        self.say(f"  {'✓' if as_told else '✗'} {what}")

    def say(self, what):
        print(f"[{time.monotonic() - self.began:6.1f} s] {what}", flush=True)


def exists(read, **arguments):
    """The answer, or False for a 404 (DynamoDB's is called ResourceNotFoundException)."""
    try:
        return read(**arguments) or True
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404 or error.response["Error"]["Code"] == "ResourceNotFoundException":
            return False
        raise


def by_resource(deployment):
    return {operation["resource"]: operation for operation in deployment["operations"]}


def value(resource, output):
    return resource["outputs"].get(output, {}).get("value")


def name_of(resource):
    return next(found for found in (value(resource, o) for o in ("name", "source", "text")) if found)


def milliseconds(deployment):
    asked, ended = (datetime.fromisoformat(deployment[key].replace("Z", "+00:00")) for key in ("createdAt", "completedAt"))
    return round((ended - asked).total_seconds() * 1000)


def has_provider(stack):
    manifest = boto3.client("s3").get_object(Bucket=stack["artifactBucket"], Key="toolchain/manifest.json")
    return any(artifact["kind"] == "provider" for artifact in json.load(manifest["Body"])["artifacts"])


def farewell(stack):
    url = stack["apiUrl"]
    print(f"""
The stack is up at {url}
  curl {url}/health
  curl {url}/v1/resource-templates
  curl -X PUT {url}/v1/environments/mine -H 'content-type: application/json' -d '{{"type": "development"}}'
  curl -X POST '{url}/v1/deployments?environment=dev' -H 'content-type: application/yaml' --data-binary @infra/local/demo/orders.score.yaml
  curl '{url}/v1/deployments?environment=dev'
  curl '{url}/v1/resources?environment=dev'
  curl -X DELETE {url}/v1/applications/orders/environments/dev
`make down` stops it.""")
    if warning := stacks.warning(stack):
        print(warning)


if __name__ == "__main__":
    stack = stacks.load()
    builtin = "--builtin" in sys.argv
    if not builtin and not has_provider(stack):
        print("There is no AWS provider on this machine: the story is played with templates on terraform's built-in one.")
        builtin = True
    story = Story(stack, builtin)
    try:
        story.play()
    except (stacks.Problem, KeyError, StopIteration) as problem:
        story.check(f"the story could not go on: {problem!r}", False)
    farewell(stack)
    if story.wrong:
        sys.exit(f"{story.wrong} of the story's points were not as told")
    print("Everything was as told.")
