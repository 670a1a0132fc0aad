"""Owns putting the stack somewhere: the same `sam deploy` into the emulator and into an AWS account.

    python -m infra.local.deploy [--local] [--name NAME] [--parameter Name=value]... [sam deploy options]
    python -m infra.local.deploy --describe [--name NAME]

With --local it then writes .local/stack.json, else .local/deployed.json: what tests, seed and demo need to know. A stack
of another name stands beside the first and has a file of its own (stack-NAME.json, deployed-NAME.json); furnish it with
`make furnish WHERE="--local --name NAME"`. Parameters come from samconfig.toml, and then from the command line. Whoever
deploys a stack to which nobody has access yet becomes its administrator. What goes to AWS is built anew, as a release;
--local takes what lies in target/lambda. With --describe nothing is deployed: it writes .local/deployed.json of a stack on
AWS that somebody else has deployed.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib

import boto3
from botocore.exceptions import ClientError

from infra.local import LOCAL, ROOT, STACK_NAME, emulator, stack, target_name

# The defaults of template.yaml, for a stack that is not there yet.
DEFAULTS = {
    "Authentication": "iam",
    "Access": "{}",
    "ProvisionerTimeout": "900",
    "StopBeforeDeadline": "90",
    "WorthStarting": "30",
    "SessionSeconds": "900",
    "WakeVisibility": "960",
}


def deploy(local, name=STACK_NAME, parameters=(), options=()):
    if local:
        stack.use_emulator(emulator.start())
    else:
        stack.use_account()
    section = "local" if local else "default"
    given = overrides(section, name, parameters)
    before = stack_parameters(name)
    administrator = caller()
    chosen = DEFAULTS | before | given
    if broken := broken_rules(chosen):
        sys.exit("nothing was deployed:\n" + "\n".join(f"  {rule}" for rule in broken))
    access = with_administrator(chosen, administrator)
    if access:
        given["Access"] = access
        print(f"  administrator: {administrator} (the parameter Access)")
    elif not local and is_stranger(chosen, administrator):
        print(f"  {administrator} is not in the parameter Access: what comes after deploying needs CONDUCTOR_TOKEN")
    if not local:
        subprocess.run(["make", "--no-print-directory", "functions", "PROFILE=release"], cwd=ROOT, check=True)
    if given:
        # In a file: on the command line JSON would have to be quoted once more.
        file = LOCAL / f"parameters-{name}.yaml"
        file.write_text(json.dumps(given, indent=2) + "\n")
        options = ["--stack-name", name, "--parameter-overrides", f"file://{file}", *options]
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
    if local:
        complete(name, stack_outputs(name))
    return write_description(name, local)


def write_description(name, local):
    description = describe(name, stack_outputs(name), stack_parameters(name), local)
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
    return parameters | dict(pair.split("=", 1) for pair in given)


def broken_rules(parameters):
    """What CloudFormation cannot check: the times that hang on each other."""
    times = [name for name in DEFAULTS if name not in ("Authentication", "Access")]
    if wrong := [f"{name} must be a whole number of seconds" for name in times if not parameters[name].isdecimal()]:
        return wrong
    seconds = {name: int(parameters[name]) for name in times}
    timeout = seconds["ProvisionerTimeout"]
    return [rule for rule, holds in (
        (f"StopBeforeDeadline + WorthStarting must be below ProvisionerTimeout ({timeout}): otherwise nothing ever starts",
         seconds["StopBeforeDeadline"] + seconds["WorthStarting"] < timeout),
        (f"SessionSeconds must not be below ProvisionerTimeout ({timeout}): credentials would end before the run",
         seconds["SessionSeconds"] >= timeout),
        (f"WakeVisibility must be at least ProvisionerTimeout + 60 ({timeout + 60}): messages would come back during the run",
         seconds["WakeVisibility"] >= timeout + 60),
    ) if not holds]


def with_administrator(parameters, identity):
    """The parameter Access where this identity has to be added, because signed requests count and nobody may sign any."""
    access = json.loads(parameters["Access"])
    if "iam" not in parameters["Authentication"].split(",") or access.get("iam"):
        return None
    return json.dumps({**access, "iam": [{"arn": identity, "roles": ["admin"]}]}, separators=(",", ":"))


def is_stranger(parameters, identity):
    """Whether this identity, or none that signs, may call the API."""
    named = {one["arn"] for one in json.loads(parameters["Access"]).get("iam", [])}
    return "iam" not in parameters["Authentication"].split(",") or identity not in named


def caller():
    """Who deploys, as Access names them: a session is its role."""
    arn = boto3.client("sts").get_caller_identity()["Arn"]
    session = re.fullmatch(r"(arn:[^:]+):sts::(\d+):assumed-role/([^/]+)/.+", arn)
    return f"{session[1]}:iam::{session[2]}:role/{session[3]}" if session else arn


def stack_parameters(name):
    """None of them where there is no stack."""
    try:
        found = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" not in error.response["Error"]["Message"]:
            raise
        return {}
    return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in found.get("Parameters", [])}


def stack_outputs(name):
    found = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


def complete(name, outputs):
    """What the emulator does not take from the template: each line is what AWS has done by itself at this point."""
    template = boto3.client("cloudformation").get_template(StackName=name, TemplateStage="Processed")["TemplateBody"]
    concurrency = stack_parameters(name)["ProvisionerConcurrency"]

    # A number that comes from a parameter stays text there, and its poller compares it with a number.
    functions = boto3.client("lambda")
    for mapping in functions.list_event_source_mappings(FunctionName=outputs["ProvisionerFunction"])["EventSourceMappings"]:
        functions.update_event_source_mapping(
            UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": int(concurrency)})

    # Gateway responses are not read from an OpenAPI body.
    gateway = boto3.client("apigateway")
    resources = template["Resources"] if isinstance(template, dict) else json.loads(template)["Resources"]
    for api in (api for api in ("Api", "BearerApi") if f"{api}Id" in outputs):
        identifier = outputs[f"{api}Id"]
        for kind, response in resources[api]["Properties"]["Body"]["x-amazon-apigateway-gateway-responses"].items():
            gateway.put_gateway_response(
                restApiId=identifier, responseType=kind, statusCode=str(response["statusCode"]),
                responseParameters=response["responseParameters"], responseTemplates=response["responseTemplates"])
        gateway.create_deployment(restApiId=identifier, stageName="live")

    # Nor is a table's time to live.
    boto3.client("dynamodb").update_time_to_live(
        TableName=outputs["Table"], TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})


def describe(name, outputs, parameters, local):
    endpoint = os.environ.get("AWS_ENDPOINT_URL") if local else None

    def url(api):
        return f"{endpoint}/_aws/execute-api/{outputs[f'{api}Id']}/live" if local else outputs[f"{api}Url"]

    return {
        "name": name,
        "authentication": parameters["Authentication"],
        "apiUrl": url("Api"),
        "bearerApiUrl": url("BearerApi") if "BearerApiId" in outputs else None,
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
    parser.add_argument("--describe", action="store_true")
    chosen, rest = parser.parse_known_args()
    if chosen.describe:
        stack.use_account()
        description = write_description(chosen.name, False)
    else:
        description = deploy(chosen.local, chosen.name, chosen.parameter, rest)
    print(f"deployed: {description['apiUrl']}")
    if warning := stack.warning(description):
        print(warning)
