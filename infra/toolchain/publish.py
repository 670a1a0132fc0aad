"""Owns `toolchain/` in the artifact bucket: the archives, and the manifest that names them, written last.

    python -m infra.toolchain.publish [--local] [--name NAME]
"""

import json
import time

import boto3
from botocore.exceptions import ClientError

from infra.local import LOCAL, stack
from infra.toolchain import find, pack

CACHE = LOCAL / "toolchain"


def publish(bucket):
    """Returns the manifest's artifacts."""
    CACHE.mkdir(parents=True, exist_ok=True)
    engine = find.engine(CACHE)
    engines = [engine, find.tofu()]
    artifacts = [artifact(found, bucket) for found in engines if found]
    provider = find.provider(CACHE)
    if provider:
        artifacts.append(artifact(provider, bucket))
    boto3.client("s3").put_object(
        Bucket=bucket, Key="toolchain/manifest.json", ContentType="application/json",
        Body=json.dumps({"schemaVersion": 1, "artifacts": artifacts}, indent=2).encode())
    if not provider:
        print("  no AWS provider: templates on the built-in provider work, the others will fail")
    return artifacts


def artifact(found, bucket):
    began = time.monotonic()
    entry = pack.pack(found, CACHE)
    sent = upload(entry, bucket)
    print(f"  {found.name} {found.version} from {found.source}\n    {entry['bytes'] >> 20} MB, "
          f"{'uploaded' if sent else 'already there'} ({time.monotonic() - began:.1f} s), SHA-256 {entry['sha256']}")
    return entry


def upload(entry, bucket):
    """False when an object of that name and size is there."""
    s3 = boto3.client("s3")
    try:
        if s3.head_object(Bucket=bucket, Key=entry["key"])["ContentLength"] == entry["bytes"]:
            return False
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
    s3.upload_file(str(pack.archive(entry, CACHE)), bucket, entry["key"])
    return True


if __name__ == "__main__":
    publish(stack.chosen(__doc__)["artifactBucket"])
