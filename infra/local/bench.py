"""Owns what the benchmark (`tests/bench`) is given: a stack that nobody else works, and what bare terraform needs.

    python -m infra.local.bench prepare|tidy

`prepare` silences the stack `bench` (its queue and its schedule wake nobody), packs terraform and the AWS provider as
their publishers do, in zip archives, uploads these, and writes .local/bench.json. `tidy` removes the stack and all that
the benchmark made.
"""

import hashlib
import json
import sys
import zipfile

import boto3
from botocore.exceptions import ClientError

from infra.local import LOCAL, stack as stacks, target_name
from infra.toolchain import find
from infra.toolchain.publish import CACHE

NAME = "bench"
MACHINE = LOCAL / "bench.json"
PREFIX = "benchmark-"  # of the buckets that both sides make; also in tests/bench
LINKS = 6 * 3600  # seconds in which the archives can be downloaded


def prepare(stack):
    silence(stack)
    CACHE.mkdir(parents=True, exist_ok=True)
    engine = find.engine(CACHE)
    provider = find.provider(CACHE)
    found = [engine, provider] if provider else [engine]
    MACHINE.write_text(json.dumps({
        "terraform": str(engine.files["terraform"]),
        "terraformVersion": engine.version,
        "provider": provider and {
            "source": provider.name,
            "version": provider.version,
            "folder": str(next(iter(provider.files.values())).resolve().parent),
        },
        "archives": [upload(zipped(one), stack["artifactBucket"]) for one in found],
    }, indent=2) + "\n")


def silence(stack):
    """Its functions are deployed for their variables and roles; the benchmark starts its own instances."""
    functions, events = boto3.client("lambda"), boto3.client("events")
    for mapping in functions.list_event_source_mappings(FunctionName=stack["functions"]["provisioner"])["EventSourceMappings"]:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=NAME)
    for resource in (resource for page in pages for resource in page["StackResourceSummaries"]):
        if resource["ResourceType"] == "AWS::Events::Rule":
            events.disable_rule(Name=resource["PhysicalResourceId"].rsplit("/", 1)[-1])


def zipped(found):
    """As on the publisher's site: one deflated archive. Made once."""
    fingerprint = hashlib.sha256(json.dumps(
        sorted((name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in found.files.items())).encode())
    archive = CACHE / f"{found.kind}-{fingerprint.hexdigest()[:16]}.zip"
    if not archive.exists():
        half_done = archive.with_suffix(".part")
        with zipfile.ZipFile(half_done, "w", zipfile.ZIP_DEFLATED) as target:
            for name, path in sorted(found.files.items()):
                target.write(path, name)
        half_done.rename(archive)
    return archive


def upload(archive, bucket):
    """Where it can be downloaded."""
    s3, key = boto3.client("s3"), f"bench/{archive.name}"
    s3.upload_file(str(archive), bucket, key)
    return s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=LINKS)


def tidy(stack):
    cloudformation = boto3.client("cloudformation")
    for name in (NAME, target_name(NAME)):
        cloudformation.delete_stack(StackName=name)
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    # What the stack keeps when it goes.
    names = [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]]
    kept = [stack[key] for key in ("stateBucket", "artifactBucket", "vaultBucket")]
    for name in (name for name in names if name in kept or name.startswith(PREFIX)):
        bucket = boto3.resource("s3").Bucket(name)
        # A page of the emulator's may leave out what comes after what was just deleted.
        while list(bucket.object_versions.limit(1)):
            bucket.object_versions.delete()
        bucket.delete()
    dynamodb = boto3.client("dynamodb")
    try:
        dynamodb.update_table(TableName=stack["table"], DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=stack["table"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
    MACHINE.unlink(missing_ok=True)
    stacks.path(True, NAME).unlink()


if __name__ == "__main__":
    steps = {"prepare": prepare, "tidy": tidy}
    if len(sys.argv) != 2 or sys.argv[1] not in steps:
        sys.exit(__doc__)
    steps[sys.argv[1]](stacks.load(name=NAME))
