"""Owns what a fresh stack is given: the resource templates that ship, the role of a first environment, and `dev`. A
stack on this machine also gets templates that run programs: tests and demos have such.

    python -m infra.local.seed [--local] [--name NAME]

Doing it again changes nothing. Deployed stacks get a random external id, kept in the role's stack.
"""

import io
import json
import secrets
import sys
import zipfile

import boto3
from botocore.exceptions import ClientError

from infra.local import ROOT, stack as stacks, target_name
from infra.local.deploy import stack_outputs, stack_parameters

LOCAL_EXTERNAL_ID = "local"  # also in samconfig.toml, for environments that name no role


def seed(stack):
    api = stacks.api(stack)
    if stack["awsEndpointUrl"]:
        allow_programs(api)
    names = publish_templates(api)
    print(f"  {len(names)} resource templates: {', '.join(names)}")
    print(f"  environment dev, by {environment(api, stack)['credentials']['roleArn']}")


def allow_programs(api):
    """`local-exec`, and nothing else that the policy for templates denies where nobody says anything."""
    policy = api.get("/v1/template-policy")
    if policy["rules"]["localExec"] != "allow":
        rules = {**policy["rules"], "localExec": "allow"}
        api.put("/v1/template-policy", {
            "rules": rules, "providers": policy["providers"], "moduleSources": policy["moduleSources"]})


def publish_templates(api):
    """One folder is one type (and class); the version is in its file VERSION, and the AWS services that it uses in
    services.json: they are no part of a version's archive, and a new one gets them where nobody has said any."""
    services = json.loads((ROOT / "infra/templates/services.json").read_text())
    published = []
    for folder in sorted(path for path in (ROOT / "infra/templates").iterdir() if (path / "VERSION").is_file()):
        version = (folder / "VERSION").read_text().strip()
        path = f"/v1/resource-templates/{folder.name}/versions/{version}"
        try:
            there = api.call("PUT", path, archive(folder), "application/zip")
        except stacks.Problem as problem:
            if problem.status == 409:
                sys.exit(f"template {folder.name} {version} was published with another content: a version is immutable, "
                         f"so raise infra/templates/{folder.name}/VERSION")
            raise
        if services[folder.name] and not there["services"]:
            api.call("PATCH", path, json.dumps({"services": services[folder.name]}).encode(), "application/json")
        published.append(f"{folder.name} {version}")
    return published


def archive(folder):
    """The same files give the same bytes: a version is compared by its content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and ".terraform" not in path.parts):
            entry = zipfile.ZipInfo(str(path.relative_to(folder)), (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def environment(api, stack):
    """`dev`, if it is not there: somebody may have changed it since."""
    role, external_id = target_role(stack)
    try:
        return api.get("/v1/environments/dev")
    except stacks.Problem as problem:
        if problem.status != 404:
            raise
    return api.put("/v1/environments/dev", {
        "type": "development", "region": stack["region"], "credentials": {"roleArn": role, "externalId": external_id}})


def target_role(stack):
    """The role that the first environment works with, in this same account, and its external id."""
    cloudformation = boto3.client("cloudformation")
    target = target_name(stack["name"])
    arguments = {
        "StackName": target,
        "TemplateBody": (ROOT / "infra/target-account.yaml").read_text(),
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
    }
    outputs = stack_outputs(stack["name"])
    given = {
        "RoleName": target,
        "ConductorName": stack_parameters(stack["name"])["Name"],
        "ProvisionerRoleArn": outputs["ProvisionerRoleArn"],
        "WorkerRoleArn": outputs["WorkerRoleArn"],
    }
    before = stack_parameters(target)
    if before:
        parameters = target_parameters(given, before)
        try:
            cloudformation.update_stack(**arguments, Parameters=parameters)
            cloudformation.get_waiter("stack_update_complete").wait(StackName=target, WaiterConfig={"Delay": 2})
        except ClientError as error:
            if "No updates" not in error.response["Error"]["Message"]:
                raise
        external_id = before["ExternalId"]
    else:
        external_id = LOCAL_EXTERNAL_ID if stack["awsEndpointUrl"] else secrets.token_hex(16)
        parameters = target_parameters(given | {"ExternalId": external_id}, {})
        cloudformation.create_stack(**arguments, Parameters=parameters)
        cloudformation.get_waiter("stack_create_complete").wait(StackName=target, WaiterConfig={"Delay": 2})
    return stack_outputs(target)["RoleArn"], external_id


def target_parameters(given, before):
    """What is given, and beside it what somebody has set: CloudFormation turns what it is not told back to the default."""
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()] + [
        {"ParameterKey": key, "UsePreviousValue": True} for key in before if key not in given]


if __name__ == "__main__":
    seed(stacks.chosen(__doc__))
