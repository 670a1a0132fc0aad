"""Owns putting the stack somewhere: the same `sam deploy` into the emulator and into an AWS account.

    python -m infra.local.deploy [--local] [sam deploy options]

With --local it then writes .local/stack.json, else .local/deployed.json: what tests, seed and demo need to know.
"""

import json
import os
import subprocess
import sys

import boto3

from infra.local import LOCAL, ROOT, STACK_NAME, emulator, stack


def deploy(local, options=()):
    if local:
        stack.use_emulator(emulator.start())
    with (LOCAL / "deploy.log").open("w+") as log:
        done = subprocess.run(
            [f"{ROOT}/.venv/bin/sam", "deploy", "--config-env", "local" if local else "default", "--no-progressbar", *options],
            cwd=ROOT, env={**os.environ, "SAM_CLI_TELEMETRY": "0"}, stdout=log if local else None, stderr=log if local else None,
        )
        if done.returncode != 0:
            log.seek(0)
            if local:
                print(log.read())
                print("The emulator cannot change a REST API's definition in place: after such a change, `make down up`.")
            sys.exit("sam deploy failed")
    outputs = stack_outputs(STACK_NAME)
    if local:
        complete(outputs)
    description = describe(outputs, local)
    path = LOCAL / ("stack.json" if local else "deployed.json")
    path.write_text(json.dumps(description, indent=2) + "\n")
    return description


def stack_outputs(name):
    found = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


def complete(outputs):
    """What the emulator does not take from the template: each line is what AWS has done by itself at this point."""
    client = boto3.client("cloudformation")
    template = client.get_template(StackName=STACK_NAME, TemplateStage="Processed")["TemplateBody"]
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in client.describe_stacks(StackName=STACK_NAME)["Stacks"][0]["Parameters"]}

    # A number that comes from a parameter stays text there, and its poller compares it with a number.
    functions = boto3.client("lambda")
    for mapping in functions.list_event_source_mappings(FunctionName=outputs["ProvisionerFunction"])["EventSourceMappings"]:
        functions.update_event_source_mapping(
            UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": int(parameters["ProvisionerConcurrency"])})

    # Gateway responses are not read from an OpenAPI body.
    gateway = boto3.client("apigateway")
    resources = template["Resources"] if isinstance(template, dict) else json.loads(template)["Resources"]
    for kind, response in resources["Api"]["Properties"]["Body"]["x-amazon-apigateway-gateway-responses"].items():
        gateway.put_gateway_response(
            restApiId=outputs["ApiId"], responseType=kind, statusCode=str(response["statusCode"]),
            responseParameters=response["responseParameters"], responseTemplates=response["responseTemplates"])
    gateway.create_deployment(restApiId=outputs["ApiId"], stageName="live")

    # Nor is a table's time to live.
    boto3.client("dynamodb").update_time_to_live(
        TableName=outputs["Table"], TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})


def describe(outputs, local):
    endpoint = os.environ.get("AWS_ENDPOINT_URL") if local else None
    api = f"{endpoint}/_aws/execute-api/{outputs['ApiId']}/live" if local else outputs["ApiUrl"]
    return {
        "apiUrl": api,
        "awsEndpointUrl": endpoint,
        "region": boto3.session.Session().region_name,
        "table": outputs["Table"],
        "queueUrl": outputs["QueueUrl"],
        "deadLetterQueueUrl": outputs["DeadLetterQueueUrl"],
        "stateBucket": outputs["StateBucket"],
        "artifactBucket": outputs["ArtifactBucket"],
        "vaultBucket": outputs["VaultBucket"],
        "functions": {name: outputs[f"{name.capitalize()}Function"] for name in ("api", "provisioner", "sweeper")},
    }


if __name__ == "__main__":
    LOCAL.mkdir(exist_ok=True)
    local = sys.argv[1:2] == ["--local"]
    print(f"deployed: {deploy(local, sys.argv[2:] if local else sys.argv[1:])['apiUrl']}")
