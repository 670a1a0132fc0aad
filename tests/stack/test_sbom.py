"""A release's bill of materials names what is in the functions, all of it and nothing else."""

import hashlib
import json
import tomllib
from urllib.parse import quote

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra import sbom
from infra.local import ROOT

LOCK = (ROOT / "Cargo.lock").read_text()
PROGRAMS = {function: function.encode() for function in sbom.FUNCTIONS}


@pytest.fixture(scope="module")
def bill():
    return sbom.bill(sbom.metadata(), LOCK, PROGRAMS)


@pytest.fixture(scope="module")
def components(bill):
    return {(part["name"], part["version"]): part for part in json.loads(bill)["components"]}


def test_it_is_cyclonedx(bill):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None


def test_each_crate_has_the_checksum_that_cargo_checks(components):
    locked = {(package["name"], package["version"]): package.get("checksum") for package in tomllib.loads(LOCK)["package"]}
    ours = {name for name, _ in components if name.startswith("conductor-")}
    assert ours == {"conductor-api", "conductor-provisioner", "conductor-sweeper", "conductor-domain", "conductor-engine",
                    "conductor-store", "conductor-telemetry", "conductor-terraform"}
    for (name, version), part in components.items():
        if name not in ours:
            assert part["hashes"] == [{"alg": "SHA-256", "content": locked[name, version]}], name
        assert part["purl"] == f"pkg:cargo/{name}@{quote(version)}"
        assert part["licenses"], name


def test_each_function_has_the_sum_of_its_program(components):
    for function in sbom.FUNCTIONS:
        (part,) = [part for (name, _), part in components.items() if name == f"conductor-{function}"]
        assert part["type"] == "application"
        assert part["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(PROGRAMS[function]).hexdigest()}]


def test_what_only_tests_need_is_not_in_it(components):
    names = {name for name, _ in components}
    assert {"aws-sdk-dynamodb", "axum", "tokio", "serde_json"} <= names
    assert not {"insta", "proptest", "conductor-simulation", "conductor-acceptance"} & names


def test_everything_is_needed_by_something(bill):
    needed = {entry["ref"]: entry.get("dependsOn", []) for entry in json.loads(bill)["dependencies"]}
    seen, open_ends = set(), ["conductor"]
    while open_ends:
        here = open_ends.pop()
        if here not in seen:
            seen.add(here)
            open_ends.extend(needed[here])
    assert seen == {"conductor"} | {part["bom-ref"] for part in json.loads(bill)["components"]}
    assert len(needed["conductor"]) == len(sbom.FUNCTIONS)


def test_a_crate_without_a_checksum_is_no_part_of_a_release():
    registry = "registry+https://example.com/index"
    metadata = {
        "packages": [{"id": "1", "name": "conductor-api", "version": "1.0.0", "source": None, "license": "MIT/Apache-2.0"},
                     {"id": "2", "name": "somebody", "version": "1.0.0", "source": registry, "license": None}],
        "resolve": {"nodes": [{"id": "1", "deps": [{"pkg": "2", "dep_kinds": [{"kind": None, "target": None}]}]},
                              {"id": "2", "deps": []}]},
    }
    lock = f"""
        [[package]]
        name = "conductor-api"
        version = "1.0.0"
        [[package]]
        name = "somebody"
        version = "1.0.0"
        source = "{registry}"
    """
    with pytest.raises(SystemExit, match="somebody 1.0.0 has no checksum"):
        sbom.bill(metadata, lock, {"api": b""})
    complete = json.loads(sbom.bill(metadata, f'{lock}\nchecksum = "{"0" * 64}"', {"api": b""}))
    assert [part["name"] for part in complete["components"]] == ["conductor-api", "somebody"]
    assert complete["components"][0]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
