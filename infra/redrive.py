"""Owns bringing dead letters back: every wake-up goes to the queue that it is for, and leaves the dead-letter queue.

    python -m infra.redrive [--local] [--name NAME]

What is no wake-up stays there and is shown. SQS's own StartMessageMoveTask leaves nothing behind, and moves nothing that
was sent to the dead-letter queue directly; so this receives, sends and deletes.
"""

import json

import boto3

from infra.local import stack as stacks

HIDDEN = 300  # seconds in which nobody else sees what was received
SHOWN = 200  # characters of a message that stays


def redrive(stack):
    """How many wake-ups were moved, and the bodies that stay."""
    sqs = boto3.client("sqs")
    dead = stack["deadLetterQueueUrl"]
    moved, kept = 0, {}
    while messages := sqs.receive_message(
            QueueUrl=dead, MaxNumberOfMessages=10, WaitTimeSeconds=2, VisibilityTimeout=HIDDEN).get("Messages"):
        for message in messages:
            queue = queue_of(message["Body"], stack)
            if queue is None:
                kept[message["MessageId"]] = message
                continue
            # In this order: what is sent twice does no harm.
            sqs.send_message(QueueUrl=queue, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
            moved += 1
    for message in kept.values():
        sqs.change_message_visibility(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    return moved, [message["Body"] for message in kept.values()]


def queue_of(body, stack):
    """The queue of a wake-up; None where it is none."""
    try:
        wake = json.loads(body)
    except json.JSONDecodeError:
        return None
    if not isinstance(wake, dict) or not all(isinstance(wake.get(key), str) for key in ("organisation", "deploymentId")):
        return None
    return stack["workerQueueUrl" if wake.get("executor") == "worker" else "queueUrl"]


if __name__ == "__main__":
    moved, kept = redrive(stacks.chosen(__doc__))
    print(f"{moved} moved, {len(kept)} that cannot be read stay")
    for body in kept:
        print(f"  {body if len(body) <= SHOWN else f'{body[:SHOWN]}…'}")
