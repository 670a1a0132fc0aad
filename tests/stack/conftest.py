"""Owns probes: functions of a few lines that run with the role of one of ours."""

import io
import json
import zipfile

import boto3
import pytest

from infra.local import stack as stacks

CODE = """
import boto3
from botocore.exceptions import ClientError

def handler(event, context):
    credentials = {}
    if "assume" in event:
        taken = boto3.client("sts").assume_role(RoleSessionName="probe", **event["assume"])["Credentials"]
        credentials = dict(aws_access_key_id=taken["AccessKeyId"], aws_secret_access_key=taken["SecretAccessKey"],
                           aws_session_token=taken["SessionToken"])
    try:
        getattr(boto3.client(event["service"], **credentials), event["call"])(**event["arguments"])
        return "allowed"
    except ClientError as error:
        return "refused" if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403 or "AccessDenied" in error.response["Error"]["Code"] else "allowed"
"""


@pytest.fixture(scope="session")
def stack():
    return stacks.load()


@pytest.fixture(scope="session")
def ask(stack):
    """ask(function, service, call, …) runs one AWS call with that function's role: `allowed` (whatever the answer) or `refused`."""
    functions = boto3.client("lambda")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("probe.py", CODE)
    made = []

    def ask(function, service, call, assume=None, **arguments):
        name = f"probe-{function}"
        if name not in made:
            role = functions.get_function_configuration(FunctionName=stack["functions"][function])["Role"]
            functions.create_function(FunctionName=name, Runtime="python3.12", Handler="probe.handler", Role=role,
                                      Timeout=30, Code={"ZipFile": archive.getvalue()})
            made.append(name)
        event = {"service": service, "call": call, "arguments": arguments, **({"assume": assume} if assume else {})}
        answer = json.load(functions.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"])
        assert answer in ("allowed", "refused"), answer
        return answer

    yield ask
    for name in made:
        functions.delete_function(FunctionName=name)
