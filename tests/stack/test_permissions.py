"""Each function may do what it must, and is refused the rest: on the emulator too, so a missing permission shows."""

import json

import boto3
import pytest

FUNCTIONS = ("api", "stream", "provisioner", "sweeper")
# Tags of a session, as the provisioner gives them.
TAGS = {"Tags": [{"Key": "conductor:environment", "Value": "dev"}]}


def filled(arguments, stack):
    return {key: value.format(**stack) if isinstance(value, str) else value for key, value in arguments.items()}


@pytest.mark.parametrize("service, call, arguments, allowed", [
    ("dynamodb", "get_item", {"TableName": "{table}", "Key": {"pk": {"S": "x"}, "sk": {"S": "x"}}}, "api stream provisioner sweeper"),
    # A condition that does not hold: nothing is written.
    ("dynamodb", "put_item", {"TableName": "{table}", "Item": {"pk": {"S": "x"}, "sk": {"S": "x"}},
                              "ConditionExpression": "attribute_exists(pk)"}, "api provisioner sweeper"),
    ("dynamodb", "query", {"TableName": "{table}", "IndexName": "due", "KeyConditionExpression": "due_shard = :s",
                           "ExpressionAttributeValues": {":s": {"S": "x"}}}, "api provisioner sweeper"),
    ("dynamodb", "scan", {"TableName": "{table}"}, ""),
    ("dynamodb", "delete_table", {"TableName": "{table}"}, ""),
    ("sqs", "receive_message", {"QueueUrl": "{deadLetterQueueUrl}"}, ""),
    ("sqs", "receive_message", {"QueueUrl": "{workerQueueUrl}"}, ""),
    # A delay that SQS does not take: nothing is sent.
    ("sqs", "send_message", {"QueueUrl": "{queueUrl}", "MessageBody": "probe", "DelaySeconds": 901}, "api provisioner sweeper"),
    ("sqs", "send_message", {"QueueUrl": "{workerQueueUrl}", "MessageBody": "probe", "DelaySeconds": 901}, "api provisioner sweeper"),
    ("sqs", "send_message", {"QueueUrl": "{deadLetterQueueUrl}", "MessageBody": "probe", "DelaySeconds": 901}, "provisioner"),
    ("sqs", "get_queue_attributes", {"QueueUrl": "{deadLetterQueueUrl}", "AttributeNames": ["All"]}, "api"),
    ("sqs", "get_queue_attributes", {"QueueUrl": "{workerQueueUrl}", "AttributeNames": ["All"]}, "api"),
    ("s3", "get_object", {"Bucket": "{vaultBucket}", "Key": "probe"}, "api"),
    ("s3", "get_object", {"Bucket": "{vaultBucket}", "Key": "deployments/x/score"}, "api provisioner sweeper"),
    ("s3", "get_object", {"Bucket": "{vaultBucket}", "Key": "deployments/x/log/0"}, "api stream provisioner sweeper"),
    ("s3", "get_object", {"Bucket": "{vaultBucket}", "Key": "resources/x/outputs/probe"}, "api provisioner"),
    ("s3", "get_object", {"Bucket": "{vaultBucket}", "Key": "operations/x/protected"}, "provisioner"),
    # If-Match that cannot hold: nothing is written.
    ("s3", "put_object", {"Bucket": "{vaultBucket}", "Key": "deployments/x/probe", "Body": "", "IfMatch": "0"}, "api provisioner sweeper"),
    ("s3", "put_object", {"Bucket": "{vaultBucket}", "Key": "resources/x/outputs/probe", "Body": "", "IfMatch": "0"}, "provisioner"),
    ("s3", "put_object", {"Bucket": "{vaultBucket}", "Key": "resources/x/outputs/registered", "Body": "", "IfMatch": "0"}, "api provisioner"),
    ("s3", "put_object", {"Bucket": "{vaultBucket}", "Key": "pools/x/x/probe", "Body": "", "IfMatch": "0"}, "api"),
    ("s3", "put_object", {"Bucket": "{vaultBucket}", "Key": "keys/other", "Body": "", "IfMatch": "0"}, ""),
    ("s3", "put_object_tagging", {"Bucket": "{vaultBucket}", "Key": "deployments/x/probe", "Tagging": {"TagSet": []}}, "api provisioner sweeper"),
    ("s3", "delete_object_tagging", {"Bucket": "{vaultBucket}", "Key": "resources/x/probe"}, "api provisioner sweeper"),
    ("s3", "delete_object_tagging", {"Bucket": "{vaultBucket}", "Key": "pools/x/probe"}, "api"),
    ("s3", "delete_object", {"Bucket": "{vaultBucket}", "Key": "probe"}, ""),
    ("s3", "delete_object", {"Bucket": "{vaultBucket}", "Key": "deployments/x/log/0"}, ""),
    ("s3", "get_object", {"Bucket": "{artifactBucket}", "Key": "templates/probe"}, "api provisioner"),
    ("s3", "get_object", {"Bucket": "{artifactBucket}", "Key": "toolchain/manifest.json"}, "provisioner"),
    ("s3", "get_object", {"Bucket": "{artifactBucket}", "Key": "probe"}, ""),
    ("s3", "put_object", {"Bucket": "{artifactBucket}", "Key": "toolchain/probe", "Body": ""}, ""),
    ("s3", "put_object", {"Bucket": "{artifactBucket}", "Key": "templates/probe", "Body": "", "IfMatch": "0"}, "api"),
    # States are the state role's alone, but for those that terraform could not push.
    ("s3", "get_object", {"Bucket": "{stateBucket}", "Key": "default/dev/probe.tfstate"}, ""),
    ("s3", "put_object", {"Bucket": "{stateBucket}", "Key": "default/dev/probe.tfstate", "Body": ""}, ""),
    ("s3", "get_object", {"Bucket": "{stateBucket}", "Key": "errored/probe"}, "provisioner"),
    ("s3", "list_objects_v2", {"Bucket": "{stateBucket}", "Prefix": "default/"}, ""),
    ("s3", "list_objects_v2", {"Bucket": "{stateBucket}", "Prefix": "errored/"}, "provisioner"),
    ("s3", "list_object_versions", {"Bucket": "{stateBucket}"}, ""),
    ("secretsmanager", "get_secret_value", {"SecretId": "conductor/default/dev/probe"}, "provisioner"),
    ("secretsmanager", "get_secret_value", {"SecretId": "probe"}, ""),
    ("lambda", "get_function_configuration", {"FunctionName": "{name}-api"}, ""),
    ("iam", "list_roles", {}, ""),
])
def test_only_these_functions_may(service, call, arguments, allowed, stack, ask):
    arguments = filled(arguments, stack)
    answers = {function: ask(function, service, call, **arguments) for function in FUNCTIONS}
    assert [function for function in FUNCTIONS if answers[function] == "allowed"] == allowed.split()


@pytest.mark.parametrize("service, call, arguments, expected", [
    ("dynamodb", "get_item", {"TableName": "{table}", "Key": {"pk": {"S": "x"}, "sk": {"S": "x"}}}, "allowed"),
    ("dynamodb", "scan", {"TableName": "{table}"}, "refused"),
    ("sqs", "receive_message", {"QueueUrl": "{workerQueueUrl}", "VisibilityTimeout": 0}, "allowed"),
    ("sqs", "receive_message", {"QueueUrl": "{queueUrl}"}, "refused"),
    ("sqs", "receive_message", {"QueueUrl": "{deadLetterQueueUrl}"}, "refused"),
    ("sqs", "send_message", {"QueueUrl": "{workerQueueUrl}", "MessageBody": "probe", "DelaySeconds": 901}, "allowed"),
    ("sqs", "send_message", {"QueueUrl": "{deadLetterQueueUrl}", "MessageBody": "probe", "DelaySeconds": 901}, "allowed"),
    ("s3", "get_object", {"Bucket": "{artifactBucket}", "Key": "toolchain/manifest.json"}, "allowed"),
    ("s3", "put_object", {"Bucket": "{artifactBucket}", "Key": "toolchain/probe", "Body": ""}, "refused"),
    ("s3", "get_object", {"Bucket": "{stateBucket}", "Key": "default/dev/probe.tfstate"}, "refused"),
    ("s3", "put_object", {"Bucket": "{stateBucket}", "Key": "default/dev/probe.tfstate", "Body": ""}, "refused"),
    ("s3", "get_object", {"Bucket": "{stateBucket}", "Key": "errored/probe"}, "allowed"),
    ("iam", "list_roles", {}, "refused"),
])
def test_a_worker_may_what_the_provisioner_may_on_a_queue_of_its_own(service, call, arguments, expected, stack, ask_as_worker):
    assert ask_as_worker(service, call, **filled(arguments, stack)) == expected


def test_a_worker_gets_the_state_role_and_target_roles(ask_as_worker, state_role, target):
    for tags in ({}, TAGS):
        assert ask_as_worker("sts", "assume_role", RoleArn=state_role, RoleSessionName="state-probe", **tags) == "allowed"
        assert ask_as_worker("sts", "assume_role", **target, RoleSessionName="probe", **tags) == "allowed"


def test_a_session_may_say_what_it_is_for(ask, state_role, target):
    assert ask("provisioner", "sts", "assume_role", RoleArn=state_role, RoleSessionName="state-probe", **TAGS) == "allowed"
    assert ask("provisioner", "sts", "assume_role", **target, RoleSessionName="probe", **TAGS) == "allowed"
    nobodys = {"RoleArn": target["RoleArn"], "RoleSessionName": "probe", **TAGS}
    assert ask("provisioner", "sts", "assume_role", **nobodys) == "refused"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_gets_the_workers_role(function, stack, ask):
    assert ask(function, "sts", "assume_role", RoleArn=stack["workerRoleArn"], RoleSessionName="probe") == "refused"


@pytest.fixture
def state_role(stack):
    configuration = boto3.client("lambda").get_function_configuration(FunctionName=stack["functions"]["provisioner"])
    return configuration["Environment"]["Variables"]["STATE_ROLE_ARN"]


def test_the_state_role_writes_states_and_a_session_policy_narrows_it_to_one(stack, ask, state_role):
    bucket = stack["stateBucket"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "Resource": f"arn:aws:s3:::{bucket}/probe/mine*"}]})
    whole = {"RoleArn": state_role, "RoleSessionName": "state-probe"}
    narrow = {**whole, "Policy": policy}
    assert ask("provisioner", "s3", "put_object", whole, Bucket=bucket, Key="probe/other", Body="") == "allowed"
    assert ask("provisioner", "s3", "put_object", narrow, Bucket=bucket, Key="probe/mine", Body="") == "allowed"
    assert ask("provisioner", "s3", "put_object", narrow, Bucket=bucket, Key="probe/other", Body="") == "refused"
    for key in ("probe/mine", "probe/other"):
        assert ask("provisioner", "s3", "delete_object", whole, Bucket=bucket, Key=key) == "allowed"


@pytest.mark.parametrize("name", ("conductor-probe", "probe", "astate-probe"))
def test_the_session_of_an_environments_role_is_none_of_the_state_role(name, ask, state_role):
    assert ask("provisioner", "sts", "assume_role", RoleArn=state_role, RoleSessionName=name) == "refused"


@pytest.mark.parametrize("function", ("api", "stream", "sweeper"))
def test_nobody_else_gets_the_state_role(function, ask, state_role):
    assert ask(function, "sts", "assume_role", RoleArn=state_role, RoleSessionName="state-probe") == "refused"


@pytest.fixture
def target():
    """What the environment `dev` would say: the role and its external id."""
    found = boto3.client("cloudformation").describe_stacks(StackName="conductor-target")["Stacks"][0]
    external_id = next(p["ParameterValue"] for p in found["Parameters"] if p["ParameterKey"] == "ExternalId")
    return {"RoleArn": found["Outputs"][0]["OutputValue"], "ExternalId": external_id}


def test_a_target_role_wants_its_external_id(ask, target):
    arguments = {"RoleSessionName": "probe", "RoleArn": target["RoleArn"]}
    assert ask("provisioner", "sts", "assume_role", **arguments) == "refused"
    assert ask("provisioner", "sts", "assume_role", **arguments, ExternalId="another") == "refused"
    assert ask("provisioner", "sts", "assume_role", **arguments, ExternalId=target["ExternalId"]) == "allowed"
    assert ask("api", "sts", "assume_role", **arguments, ExternalId=target["ExternalId"]) == "refused"


def test_a_target_role_makes_resources_and_never_touches_conductors_own(stack, ask, target):
    assert ask("provisioner", "s3", "head_bucket", target, Bucket="somebody-elses") == "allowed"
    assert ask("provisioner", "s3", "list_objects_v2", target, Bucket=stack["stateBucket"]) == "refused"
    assert ask("provisioner", "s3", "get_object", target, Bucket=stack["vaultBucket"], Key="probe") == "refused"
    assert ask("provisioner", "dynamodb", "describe_table", target, TableName=stack["table"]) == "refused"
    for queue in ("queueUrl", "workerQueueUrl", "deadLetterQueueUrl"):
        assert ask("provisioner", "sqs", "purge_queue", target, QueueUrl=stack[queue]) == "refused"
    for function in stack["functions"].values():
        assert ask("provisioner", "lambda", "get_function_configuration", target, FunctionName=function) == "refused"
    assert ask("provisioner", "secretsmanager", "get_secret_value", target, SecretId="conductor/default/dev/probe") == "refused"
