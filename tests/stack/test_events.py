"""Every file in events/ goes through the deployed function that it is for, and does what its name says."""

import json
from pathlib import Path

import boto3
import pytest

EVENTS = Path(__file__).parents[2] / "events"
EXPECTED = {
    "api-get-health": lambda answer: answer["statusCode"] == 200 and json.loads(answer["body"])["status"] == "ok",
    "api-get-missing": lambda answer: answer["statusCode"] == 404 and json.loads(answer["body"])["code"] == "route_not_found",
    "api-post-deployment": lambda answer: answer["statusCode"] == 202 and json.loads(answer["body"])["application"] == "hello",
    "provisioner-settle": lambda answer: answer == {"batchItemFailures": []},
    "provisioner-unreadable": lambda answer: answer == {"batchItemFailures": []},
    "provisioner-wake-up": lambda answer: answer == {"batchItemFailures": []},
    "sweeper-schedule": lambda answer: answer["failed"] == 0,
}


@pytest.mark.parametrize("name", sorted(path.stem for path in EVENTS.glob("*.json")))
def test_event(stack, name):
    function = stack["functions"][name.split("-")[0]]
    answer = boto3.client("lambda").invoke(FunctionName=function, Payload=(EVENTS / f"{name}.json").read_bytes())
    payload = json.loads(answer["Payload"].read() or b"null")
    assert "FunctionError" not in answer, payload
    assert EXPECTED[name](payload), payload


def test_a_message_that_cannot_be_read_lies_in_the_dead_letter_queue(stack):
    event = (EVENTS / "provisioner-unreadable.json").read_bytes()
    boto3.client("lambda").invoke(FunctionName=stack["functions"]["provisioner"], Payload=event)
    queue = {"QueueUrl": stack["deadLetterQueueUrl"]}
    sqs = boto3.client("sqs")
    found = sqs.receive_message(**queue, WaitTimeSeconds=10, MaxNumberOfMessages=10).get("Messages", [])
    assert [message["Body"] for message in found if message["Body"] == "not a wake-up"]
    for message in found:
        sqs.delete_message(**queue, ReceiptHandle=message["ReceiptHandle"])
