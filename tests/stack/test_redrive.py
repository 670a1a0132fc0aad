"""Dead letters go back to where they are worked; what nobody can read stays."""

import json
import uuid

import boto3
import pytest

from infra import redrive


@pytest.fixture
def queues(stack):
    """Three queues that nobody reads, by the names that a stack's description has for them."""
    sqs = boto3.client("sqs")
    made = {name: sqs.create_queue(QueueName=f"probe-{uuid.uuid4()}")["QueueUrl"]
            for name in ("queueUrl", "workerQueueUrl", "deadLetterQueueUrl")}
    yield made
    for url in made.values():
        sqs.delete_queue(QueueUrl=url)


def bodies(url):
    found = boto3.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return sorted(message["Body"] for message in found)


def test_wake_ups_go_back_and_what_cannot_be_read_stays(queues):
    wake = {"organisation": "default", "deploymentId": str(uuid.uuid4())}
    settles = [json.dumps({**wake, "number": number}) for number in range(12)]
    for_a_worker = json.dumps({**wake, "operation": 1, "executor": "worker"})
    unreadable = sorted(["not a wake-up", "[]", json.dumps({"organisation": "default"})])
    sqs = boto3.client("sqs")
    for body in [*settles, for_a_worker, *unreadable]:
        sqs.send_message(QueueUrl=queues["deadLetterQueueUrl"], MessageBody=body)

    moved, kept = redrive.redrive(queues)

    assert (moved, sorted(kept)) == (13, unreadable)
    assert bodies(queues["deadLetterQueueUrl"]) == unreadable
    assert bodies(queues["workerQueueUrl"]) == [for_a_worker]
    assert sorted(bodies(queues["queueUrl"]) + bodies(queues["queueUrl"])) == sorted(settles)
