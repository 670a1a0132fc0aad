"""Who may do what, read from the deployed stack: each part has a role of its own, each statement names what it is about, and
where it names more than one thing it stands here, with the reason."""

import json

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.local import target_name

# What has a `*`, by policy: a managed one, or one within a role. Names of the stack are filled in.
LOGS = "arn:aws:logs:{region}:{account}:log-group:/aws/lambda/{name}-"
STREAMS = "the streams of its own log group"
CONDUCTOR = "what the role may never touch, although it may much else"
WRITTEN = {
    "records": {
        "sqs:SendMessage*": "SendMessage; the emulator asks for SendMessageBatch too, which AWS does not know",
        "arn:aws:s3:::{vaultBucket}/deployments/*": "the objects of deployments",
        "arn:aws:s3:::{vaultBucket}/pools/*": "the parameters of pools",
        "arn:aws:s3:::{vaultBucket}/resources/*": "their `pending` tags",
    },
    "operations": {
        "arn:aws:s3:::{artifactBucket}/templates/*": "the archives of templates",
        "arn:aws:s3:::{artifactBucket}/toolchain/*": "the engines and providers",
        "arn:aws:s3:::{vaultBucket}/operations/*": "what operations note down",
        "arn:aws:s3:::{vaultBucket}/resources/*": "outputs and parameters of resources",
        "arn:aws:s3:::{stateBucket}/errored/*": "states that could not be pushed",
        "arn:aws:secretsmanager:{region}:{account}:secret:conductor/*":
            "environments' credentials; the provisioner demands that an environment names its own",
        "arn:aws:iam::*:role/conductor-target*": "the roles of environments, in whatever account; each demands an external id",
    },
    "api/own": {
        f"{LOGS}api:*": STREAMS,
        "arn:aws:s3:::{artifactBucket}/templates/*": "the archives of templates",
        "arn:aws:s3:::{vaultBucket}/resources/*": "sensitive outputs",
        "arn:aws:s3:::{vaultBucket}/resources/*/registered": "outputs and parameters that are registered",
        "arn:aws:s3:::{vaultBucket}/pools/*": "the parameters of pools",
    },
    "stream/own": {
        f"{LOGS}stream:*": STREAMS,
        "arn:aws:s3:::{vaultBucket}/deployments/*/log/*": "archived logs",
    },
    "provisioner/own": {f"{LOGS}provisioner:*": STREAMS},
    "sweeper/own": {f"{LOGS}sweeper:*": STREAMS},
    "worker/own": {},
    "state/own": {"arn:aws:s3:::{stateBucket}/*": "all states; each session is narrowed to one and its lock"},
    "target/templates": {
        "s3:*": "the templates that ship make buckets",
        "dynamodb:*": "and tables",
        "sqs:*": "and queues",
        "sns:*": "and topics",
        "*": "whatever is in the environment's account, but for Conductor's own",
        **{pattern: CONDUCTOR for pattern in (
            "arn:aws:s3:::{name}-state-{account}-*", "arn:aws:s3:::{name}-artifacts-{account}-*",
            "arn:aws:s3:::{name}-vault-{account}-*",
            "arn:aws:dynamodb:*:{account}:table/{name}", "arn:aws:dynamodb:*:{account}:table/{name}/*",
            "arn:aws:sqs:*:{account}:{name}-wake", "arn:aws:sqs:*:{account}:{name}-worker",
            "arn:aws:sqs:*:{account}:{name}-dead-letters",
            "arn:aws:lambda:*:{account}:function:{name}-api", "arn:aws:lambda:*:{account}:function:{name}-stream",
            "arn:aws:lambda:*:{account}:function:{name}-provisioner", "arn:aws:lambda:*:{account}:function:{name}-sweeper",
            "arn:aws:logs:*:{account}:log-group:/aws/lambda/{name}-*",
            "arn:aws:iam::{account}:policy/{name}-operations-*", "arn:aws:iam::{account}:policy/{name}-records-*",
            "arn:aws:iam::{account}:role/{name}-*", "arn:aws:secretsmanager:*:{account}:secret:conductor/*",
        )},
    },
}
ATTACHED = {
    "api": ["records"], "stream": [], "provisioner": ["operations", "records"], "worker": ["operations", "records"],
    "sweeper": ["records"], "state": [], "target": [],
}
FUNCTIONS = ("api", "stream", "provisioner", "sweeper")


def listed(value):
    return value if isinstance(value, list) else [value]


def statements(document):
    return listed(document["Statement"])


@pytest.fixture(scope="module")
def names(stack):
    return {**stack, "account": boto3.client("sts").get_caller_identity()["Account"]}


@pytest.fixture(scope="module")
def roles(stack):
    """All roles of the stack, and the one of the first environment, by short name."""
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources")
    iam = boto3.client("iam")
    found = {}
    for name in (stack["name"], target_name(stack["name"])):
        for resource in (resource for page in pages.paginate(StackName=name) for resource in page["StackResourceSummaries"]):
            if resource["ResourceType"] == "AWS::IAM::Role":
                role = iam.get_role(RoleName=resource["PhysicalResourceId"])["Role"]
                short = role["RoleName"].removeprefix(f"{stack['name']}-").removesuffix(f"-{stack['region']}")
                found["target" if role["RoleName"] == target_name(stack["name"]) else short] = role
    return found


@pytest.fixture(scope="module")
def attached(stack, roles):
    """The managed policies of each role: short name and document."""
    iam = boto3.client("iam")

    def policies(role):
        for policy in iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]:
            # The emulator attaches one without a name where a parameter leaves them out.
            if not policy["PolicyArn"]:
                continue
            version = iam.get_policy(PolicyArn=policy["PolicyArn"])["Policy"]["DefaultVersionId"]
            document = iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId=version)["PolicyVersion"]["Document"]
            yield policy["PolicyName"].removeprefix(f"{stack['name']}-").removesuffix(f"-{stack['region']}"), document

    return {short: dict(policies(role)) for short, role in roles.items()}


@pytest.fixture(scope="module")
def policies(roles, attached):
    """All policies, as in WRITTEN."""
    iam = boto3.client("iam")
    found = {name: document for of_one in attached.values() for name, document in of_one.items()}
    for short, role in roles.items():
        for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            found[f"{short}/{name}"] = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
    return found


def test_each_policy_is_known(policies, attached):
    assert policies.keys() == WRITTEN.keys()
    assert {short: sorted(of_one) for short, of_one in attached.items()} == ATTACHED


def test_a_star_is_written_down_with_a_reason(policies, names):
    found = {name: {pattern for statement in statements(document)
                    for pattern in listed(statement["Action"]) + listed(statement["Resource"]) if "*" in pattern}
             for name, document in policies.items()}
    # As long as the list: what is gone from the stack goes from here too.
    assert found == {name: {pattern.format(**names) for pattern in reasons} for name, reasons in WRITTEN.items()}


def test_a_statement_says_what_it_allows_and_not_what_it_does_not(policies):
    for name, document in policies.items():
        for statement in statements(document):
            assert {"Effect", "Action", "Resource"} <= statement.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}, name


def test_everything_but_the_environments_is_in_this_account_and_region(policies, names):
    for name, document in policies.items():
        for resource in (resource for statement in statements(document) for resource in listed(statement["Resource"])):
            _, _, service, region, account, _ = resource.split(":", 5) if resource != "*" else [""] * 6
            if not name.startswith("target/") and "conductor-target" not in resource:
                assert service == "s3" or account == names["account"], (name, resource)
                assert service in ("s3", "iam") or region == names["region"], (name, resource)


def test_each_function_has_a_role_of_its_own(stack, roles):
    configured = boto3.client("lambda").get_function_configuration
    used = {function: configured(FunctionName=stack["functions"][function])["Role"] for function in FUNCTIONS}
    assert used == {function: roles[function]["Arn"] for function in FUNCTIONS}
    assert len(set(used.values())) == len(FUNCTIONS)


def test_only_those_who_need_a_role_may_assume_it(roles, names):
    def trusted(role):
        return {(action, principal, tuple(key for keys in statement.get("Condition", {}).values() for key in keys))
                for statement in statements(role["AssumeRolePolicyDocument"]) for action in listed(statement["Action"])
                for of_kind in statement["Principal"].values() for principal in listed(of_kind)}

    for function in FUNCTIONS:
        assert trusted(roles[function]) == {("sts:AssumeRole", "lambda.amazonaws.com", ())}
    operators = [roles["provisioner"]["Arn"], roles["worker"]["Arn"]]
    tags = {("sts:TagSession", operator, ()) for operator in operators}
    assert trusted(roles["state"]) == {("sts:AssumeRole", operator, ("sts:RoleSessionName",)) for operator in operators} | tags
    assert trusted(roles["target"]) == {("sts:AssumeRole", operator, ("sts:ExternalId",)) for operator in operators} | tags
    # The second is the parameter WorkerPrincipals of the local stack.
    assert trusted(roles["worker"]) == {
        ("sts:AssumeRole", "ecs-tasks.amazonaws.com", ("aws:SourceAccount",)), ("sts:AssumeRole", f"arn:aws:iam::{names['account']}:root", ())}


def test_functions_are_called_by_their_gateway_and_their_clock_alone(stack, names):
    functions = boto3.client("lambda")

    def callers(function):
        try:
            policy = json.loads(functions.get_policy(FunctionName=stack["functions"][function])["Policy"])
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ResourceNotFoundException"
            return []
        return [(statement["Action"], statement["Principal"]["Service"], statement["Condition"]["ArnLike"]["AWS:SourceArn"])
                for statement in statements(policy)]

    here = f"{names['region']}:{names['account']}"
    gateway = [("lambda:InvokeFunction", "apigateway.amazonaws.com",
                f"arn:aws:execute-api:{here}:{stack['apiUrl'].split('/')[-2]}/*")]
    assert callers("api") == callers("stream") == gateway
    assert callers("provisioner") == []
    ((action, service, source),) = callers("sweeper")
    assert (action, service) == ("lambda:InvokeFunction", "events.amazonaws.com")
    assert source.startswith(f"arn:aws:events:{here}:rule/{stack['name']}-")
