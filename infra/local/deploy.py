"""Owns putting the stack somewhere: the same `sam deploy` into the emulator and into an AWS account.

    python -m infra.local.deploy [--local] [--name NAME] [--parameter Name=value]... [sam deploy options]

With --local it then writes .local/stack.json, else .local/deployed.json: what tests, seed and demo need to know. A stack
of another name stands beside the first and has a file of its own (stack-NAME.json, deployed-NAME.json); furnish it with
`make furnish WHERE="--local --name NAME"`. Parameters come from samconfig.toml, and then from the command line.
"""

import json
import os
import shlex
import subprocess
import sys
import tomllib

import boto3

from infra.local import LOCAL, ROOT, STACK_NAME, emulator, stack, target_name


def deploy(local, name=STACK_NAME, parameters=(), options=()):
    if local:
        stack.use_emulator(emulator.start())
    section = "local" if local else "default"
    if name != STACK_NAME or parameters:
        options = ["--stack-name", name, "--parameter-overrides", *overrides(section, name, parameters), *options]
    with (LOCAL / "deploy.log").open("w+") as log:
        done = subprocess.run(
            [f"{ROOT}/.venv/bin/sam", "deploy", "--config-env", section, "--no-progressbar", *options],
            cwd=ROOT, env={**os.environ, "SAM_CLI_TELEMETRY": "0"}, stdout=log if local else None, stderr=log if local else None,
        )
        if done.returncode != 0:
            log.seek(0)
            if local:
                print(log.read())
                print("The emulator cannot change a REST API's definition in place: after such a change, `make down up`.")
            sys.exit("sam deploy failed")
    outputs = stack_outputs(name)
    if local:
        complete(name, outputs)
    description = describe(name, outputs, local)
    stack.path(local, name).write_text(json.dumps(description, indent=2) + "\n")
    return description


def overrides(section, name, given):
    """What samconfig.toml says, then what goes with another name, then what is given."""
    configured = tomllib.loads((ROOT / "samconfig.toml").read_text())[section]["deploy"]["parameters"]
    parameters = dict(pair.split("=", 1) for pair in shlex.split(configured.get("parameter_overrides", "")))
    if name != STACK_NAME:
        parameters["Name"] = name
        if section == "local":
            role = parameters["DefaultTargetRoleArn"].rsplit("/", 1)[0]
            parameters |= {"PublicPath": f"_aws/execute-api/{name}/live", "DefaultTargetRoleArn": f"{role}/{target_name(name)}"}
    parameters |= dict(pair.split("=", 1) for pair in given)
    return [f"{key}={value}" for key, value in parameters.items()]


def stack_outputs(name):
    found = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


def complete(name, outputs):
    """What the emulator does not take from the template: each line is what AWS has done by itself at this point."""
    client = boto3.client("cloudformation")
    template = client.get_template(StackName=name, TemplateStage="Processed")["TemplateBody"]
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in client.describe_stacks(StackName=name)["Stacks"][0]["Parameters"]}

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


def describe(name, outputs, local):
    endpoint = os.environ.get("AWS_ENDPOINT_URL") if local else None
    api = f"{endpoint}/_aws/execute-api/{outputs['ApiId']}/live" if local else outputs["ApiUrl"]
    return {
        "name": name,
        "apiUrl": api,
        "awsEndpointUrl": endpoint,
        "region": boto3.session.Session().region_name,
        "table": outputs["Table"],
        "queueUrl": outputs["QueueUrl"],
        "workerQueueUrl": outputs["WorkerQueueUrl"],
        "deadLetterQueueUrl": outputs["DeadLetterQueueUrl"],
        "stateBucket": outputs["StateBucket"],
        "artifactBucket": outputs["ArtifactBucket"],
        "vaultBucket": outputs["VaultBucket"],
        "functions": {function: outputs[f"{function.capitalize()}Function"] for function in ("api", "stream", "provisioner", "sweeper")},
        "workerRoleArn": outputs["WorkerRoleArn"],
    }


if __name__ == "__main__":
    LOCAL.mkdir(exist_ok=True)
    parser = stack.parser(__doc__)
    parser.add_argument("--parameter", action="append", default=[])
    chosen, rest = parser.parse_known_args()
    print(f"deployed: {deploy(chosen.local, chosen.name, chosen.parameter, rest)['apiUrl']}")
