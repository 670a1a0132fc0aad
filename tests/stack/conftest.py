"""Owns probes: calls with the role of one of our functions (in one of a few lines) or of a worker."""

import io
import json
import uuid
import zipfile

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.local import stack as stacks

CODE = """
import boto3
from botocore.exceptions import ClientError

def handler(event, context):
    credentials = {}
    if "assume" in event:
        taken = boto3.client("sts").assume_role(**{"RoleSessionName": "probe", **event["assume"]})["Credentials"]
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
    made = {}

    def ask(function, service, call, assume=None, **arguments):
        if function not in made:
            name = f"probe-{function}-{uuid.uuid4()}"
            role = functions.get_function_configuration(FunctionName=stack["functions"][function])["Role"]
            functions.create_function(FunctionName=name, Runtime="python3.12", Handler="probe.handler", Role=role,
                                      Timeout=30, Code={"ZipFile": archive.getvalue()})
            made[function] = name
        event = {"service": service, "call": call, "arguments": arguments, **({"assume": assume} if assume else {})}
        answer = json.load(functions.invoke(FunctionName=made[function], Payload=json.dumps(event))["Payload"])
        assert answer in ("allowed", "refused"), answer
        return answer

    yield ask
    for name in made.values():
        functions.delete_function(FunctionName=name)


@pytest.fixture(scope="session")
def ask_as_worker(stack):
    """ask_as_worker(service, call, …) runs one AWS call with the role of workers."""
    taken = boto3.client("sts").assume_role(RoleArn=stack["workerRoleArn"], RoleSessionName="probe")["Credentials"]
    session = boto3.session.Session(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])

    def ask(service, call, **arguments):
        try:
            getattr(session.client(service), call)(**arguments)
            return "allowed"
        except ClientError as error:
            forbidden = error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
            return "refused" if forbidden or "AccessDenied" in error.response["Error"]["Code"] else "allowed"

    return ask
