"""What the stack keeps is private, encrypted and can be had back: on the deployed stack as far as the emulator stores it,
and in the template."""

import boto3
import pytest
from botocore.exceptions import ClientError

from stack_template import PARAMETERS, properties, resources

BUCKETS = ("stateBucket", "artifactBucket", "vaultBucket")
QUEUES = ("queueUrl", "workerQueueUrl", "deadLetterQueueUrl")
KEY = "arn:aws:kms:us-east-1:123456789012:key/probe"
MINE = {"Ref": "KmsKeyArn"}


def listed(value):
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_is_private_and_versioned(stack, bucket):
    s3 = boto3.client("s3")
    blocked = s3.get_public_access_block(Bucket=stack[bucket])["PublicAccessBlockConfiguration"]
    assert blocked == dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    assert s3.get_bucket_versioning(Bucket=stack[bucket])["Status"] == "Enabled"


def test_each_bucket_is_kept_encrypted_its_owners_alone_and_open_to_tls_only():
    policies = {policy["Bucket"]["Ref"]: policy["PolicyDocument"] for policy in properties("AWS::S3::BucketPolicy").values()}
    buckets = resources("AWS::S3::Bucket")
    assert len(buckets) == len(BUCKETS)
    for name, bucket in buckets.items():
        assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
        declared = bucket["Properties"]
        assert declared["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        assert set(declared["PublicAccessBlockConfiguration"].values()) == {True}
        assert declared["VersioningConfiguration"] == {"Status": "Enabled"}
        assert declared["BucketEncryption"]["ServerSideEncryptionConfiguration"] == [
            {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        (statement,) = policies[name]["Statement"]
        assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert statement["Resource"] == [{"GetAtt": f"{name}.Arn"}, {"Sub": f"${{{name}.Arn}}/*"}]


@pytest.mark.parametrize("queue", QUEUES)
def test_a_queue_is_encrypted_and_takes_nothing_from_other_accounts(stack, queue):
    url = {"QueueUrl": stack[queue]}
    attributes = boto3.client("sqs").get_queue_attributes(**url, AttributeNames=["SqsManagedSseEnabled", "Policy"])["Attributes"]
    assert attributes["SqsManagedSseEnabled"] == "true"
    assert '"aws:PrincipalAccount"' in attributes["Policy"]
    # The emulator takes an account for the key of its root user.
    foreigner = boto3.client("sqs", aws_access_key_id="111111111111", aws_secret_access_key="test")
    for call, arguments in (("send_message", {"MessageBody": "probe", "DelaySeconds": 900}), ("receive_message", {}), ("get_queue_attributes", {})):
        with pytest.raises(ClientError) as caught:
            getattr(foreigner, call)(**url, **arguments)
        assert "AccessDenied" in caught.value.response["Error"]["Code"], call


def test_each_queue_refuses_other_accounts_and_plain_http():
    policies = {policy["Queues"][0]["Ref"]: policy for policy in properties("AWS::SQS::QueuePolicy").values()}
    assert policies.keys() == properties("AWS::SQS::Queue").keys()
    for name, policy in policies.items():
        assert policy["Queues"] == [{"Ref": name}]
        conditions = []
        for statement in policy["PolicyDocument"]["Statement"]:
            assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
            assert statement["Resource"] == {"GetAtt": f"{name}.Arn"}
            conditions.append(statement["Condition"])
        assert conditions == [{"StringNotEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}}},
                              {"Bool": {"aws:SecureTransport": "false"}}]


def test_only_the_other_two_queues_may_give_up_messages_to_the_dead_letters():
    queues = properties("AWS::SQS::Queue")
    allowed = queues["DeadLetterQueue"]["RedriveAllowPolicy"]
    assert allowed["redrivePermission"] == "byQueue"
    ours = [queue["QueueName"]["Sub"] for name, queue in queues.items() if name != "DeadLetterQueue"]
    assert [source["Sub"].rsplit(":", 1)[1] for source in allowed["sourceQueueArns"]] == ours


def test_the_table_can_be_had_back():
    table = resources("AWS::DynamoDB::Table")["Table"]
    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
    assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": {"Ref": "PointInTimeRecovery"}}
    assert table["Properties"]["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}
    assert table["Properties"]["SSESpecification"] == {"SSEEnabled": True}


@pytest.mark.parametrize("parameter", ("PointInTimeRecovery", "DeletionProtection", "RequireTls"))
def test_what_protects_is_on_where_nobody_says_otherwise(parameter):
    assert PARAMETERS[parameter]["Default"] == "true"


def test_each_functions_log_is_kept_for_a_time_and_not_for_ever(stack):
    groups = boto3.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{stack['name']}-")["logGroups"]
    kept = {group["logGroupName"].removeprefix(f"/aws/lambda/{stack['name']}-"): group.get("retentionInDays") for group in groups}
    assert kept == dict.fromkeys(stack["functions"], 30)
    configured = boto3.client("lambda").get_function_configuration
    for function, name in stack["functions"].items():
        assert configured(FunctionName=name)["LoggingConfig"]["LogGroup"] == f"/aws/lambda/{stack['name']}-{function}"


# With a key of the customer's

def test_a_customers_key_encrypts_table_buckets_queues_and_logs():
    given = {"KmsKeyArn": KEY}
    for bucket in properties("AWS::S3::Bucket", **given).values():
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"] == [
            {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": MINE}, "BucketKeyEnabled": True}]
    for queue in properties("AWS::SQS::Queue", **given).values():
        assert queue["KmsMasterKeyId"] == MINE and "SqsManagedSseEnabled" not in queue
    for table in properties("AWS::DynamoDB::Table", **given).values():
        assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": MINE}
    for group in properties("AWS::Logs::LogGroup", **given).values():
        assert group["KmsKeyId"] == MINE


def test_without_one_nothing_names_a_key():
    for name, resource in resources().items():
        if name != "ProvisionerFunction":  # whose variable says `none`
            assert "KmsKeyArn" not in str(resource) and "kms:" not in str(resource), name


def granted(**parameters):
    """What each role may do with keys, by its policies: (action, service)."""
    managed = properties("AWS::IAM::ManagedPolicy", **parameters)
    found = {}
    for name, role in properties("AWS::IAM::Role", **parameters).items():
        documents = [policy["PolicyDocument"] for policy in role["Policies"]]
        documents += [managed[policy["Ref"]]["PolicyDocument"] for policy in role.get("ManagedPolicyArns", [])]
        found[name] = set()
        for statement in (statement for document in documents for statement in listed(document["Statement"])):
            actions = [action for action in listed(statement["Action"]) if action.startswith("kms:")]
            if actions:
                assert statement["Resource"] == MINE
                assert list(statement["Condition"]) == ["StringEquals"]
                services = listed(statement["Condition"]["StringEquals"]["kms:ViaService"])
                found[name] |= {(action, service["Sub"].split(".")[0]) for action in actions for service in services}
                assert {service["Sub"].split(".", 1)[1] for service in services} == {"${AWS::Region}.amazonaws.com"}
    return found


def test_each_role_may_use_the_key_for_what_it_reads_and_writes_and_through_these_services_alone():
    def both(*services):
        return {(action, service) for action in ("kms:Decrypt", "kms:GenerateDataKey") for service in services}

    records = both("dynamodb", "s3", "sqs")
    operations = records | {("kms:Decrypt", "secretsmanager")}
    assert granted(KmsKeyArn=KEY) == {
        "ApiRole": records, "SweeperRole": records, "ProvisionerRole": operations, "WorkerRole": operations,
        "StreamRole": {("kms:Decrypt", "dynamodb"), ("kms:Decrypt", "s3")}, "StateRole": both("s3"),
    }
