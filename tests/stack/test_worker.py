"""The provisioner as a plain process: how it begins and ends. What it does in between is in tests/faults."""

import signal
import subprocess
import time

import boto3
import pytest

from infra.local import emulator, worker

PATIENCE = 60  # seconds


@pytest.fixture(scope="session")
def variables(stack):
    return worker.environment(stack)


def run(variables, *arguments):
    return subprocess.run([worker.PROGRAM, *arguments], env=variables, capture_output=True, text=True, timeout=PATIENCE)


def test_another_argument_gets_the_usage(variables):
    for arguments in (["--once"], ["--worker", "--twice"], ["serve"]):
        done = run(variables, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: provisioner ")


def test_a_missing_variable_is_named(variables):
    done = run({name: value for name, value in variables.items() if name != "WORKER_QUEUE_URL"}, "--worker")
    assert done.returncode == 1
    assert "WORKER_QUEUE_URL" in done.stderr


def test_terraform_gets_the_keys_of_a_file(variables, tmp_path):
    file = tmp_path / "provider.json"
    file.write_text('{"Version": 1}')
    done = run({}, "--credentials", str(file))
    assert (done.returncode, done.stdout) == (0, '{"Version": 1}')
    assert run({}, "--credentials", str(tmp_path / "none.json")).returncode == 1


def test_once_works_one_message_and_ends(stack, variables):
    sqs = boto3.client("sqs")
    sqs.send_message(QueueUrl=stack["workerQueueUrl"], MessageBody="not a wake-up for a worker")
    done = run(variables, "--worker", "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    dead = {"QueueUrl": stack["deadLetterQueueUrl"]}
    ours = []

    def is_there():
        found = sqs.receive_message(**dead, WaitTimeSeconds=1, MaxNumberOfMessages=10).get("Messages", [])
        ours.extend(message for message in found if message["Body"] == "not a wake-up for a worker")
        return ours

    emulator.until(is_there, PATIENCE, "it is among the dead letters")
    assert len(ours) == 1
    sqs.delete_message(**dead, ReceiptHandle=ours[0]["ReceiptHandle"])
    attributes = sqs.get_queue_attributes(QueueUrl=stack["workerQueueUrl"], AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == attributes["ApproximateNumberOfMessagesNotVisible"] == "0"


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_a_worker_that_is_told_to_stop_while_it_waits_ends_at_once(variables, number):
    process = subprocess.Popen([worker.PROGRAM, "--worker"], env=variables, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if "waiting for wake-ups" in line:
                break
        began = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert time.monotonic() - began < 5
    finally:
        process.kill()
        process.wait()
