"""Owns a worker beside a local stack: the provisioner as a plain process, with the role and the variables of the stack.

    python -m infra.local.worker [--name NAME] [--once]

Elsewhere a worker gets the same variables: those of the provisioner's function, AWS_REGION, and credentials of its role.
"""

import os

import boto3

from infra.local import LOCAL, ROOT, stack as stacks

PROGRAM = ROOT / "target/lambda/provisioner/bootstrap"


def environment(stack):
    """All that a worker needs. Its role's session ends after an hour."""
    function = boto3.client("lambda").get_function_configuration(FunctionName=stack["functions"]["provisioner"])
    session = boto3.client("sts").assume_role(RoleArn=stack["workerRoleArn"], RoleSessionName="worker")["Credentials"]
    temporary = LOCAL / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {
        **function["Environment"]["Variables"],
        "AWS_REGION": stack["region"],
        "AWS_ENDPOINT_URL": stack["awsEndpointUrl"],
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
        "TMPDIR": str(temporary),
    }


if __name__ == "__main__":
    parser = stacks.parser(__doc__)
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    stack = stacks.load(name=options.name)
    os.execve(PROGRAM, [str(PROGRAM), "--worker", *(["--once"] if options.once else [])], environment(stack))
