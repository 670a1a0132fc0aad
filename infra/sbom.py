"""Owns the bill of materials of a release, as CycloneDX: the functions with their SHA-256, and every crate that they are made
of, with its checksum (from Cargo.lock), its licence and what it depends on.

    python -m infra.sbom FILE
"""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from infra.local import ROOT

FUNCTIONS = ("api", "provisioner", "sweeper")
# What a crate needs to be built or to run; `dev` is for its own tests.
KINDS = (None, "build")


def bill(metadata, lock, programs):
    """Of `cargo metadata`, the text of Cargo.lock, and the program of each function by the function's name."""
    crates = {package["id"]: package for package in metadata["packages"]}
    checksums = {(package["name"], package["version"], package.get("source")): package.get("checksum")
                 for package in tomllib.loads(lock)["package"]}
    needs = {node["id"]: [dependency["pkg"] for dependency in node["deps"]
                          if any(kind["kind"] in KINDS for kind in dependency["dep_kinds"])]
             for node in metadata["resolve"]["nodes"]}
    functions = {crate["id"]: programs[function] for crate in crates.values()
                 for function in programs if crate["name"] == f"conductor-{function}"}
    components = {}
    open_ends = list(functions)
    while open_ends:
        identifier = open_ends.pop()
        if identifier not in components:
            components[identifier] = component(crates[identifier], checksums, functions.get(identifier))
            open_ends.extend(needs[identifier])

    made = Bom(components=components.values())
    version = crates[next(iter(functions))]["version"]
    made.metadata.component = Component(name="conductor", version=version, type=ComponentType.APPLICATION, bom_ref="conductor")
    made.register_dependency(made.metadata.component, [components[identifier] for identifier in functions])
    for identifier, found in components.items():
        made.register_dependency(found, [components[needed] for needed in needs[identifier]])
    return JsonV1Dot6(made).output_as_string(indent=2)


def component(crate, checksums, program):
    checksum = checksums[crate["name"], crate["version"], crate["source"]]
    if crate["source"] and not checksum:
        sys.exit(f"{crate['name']} {crate['version']} has no checksum in Cargo.lock")
    if program:
        checksum = hashlib.sha256(program).hexdigest()
    # Cargo's old way to write OR is still in use.
    licence = crate["license"] and " OR ".join(part.strip() for part in crate["license"].split("/"))
    purl = PackageURL("cargo", name=crate["name"], version=crate["version"])
    return Component(
        name=crate["name"], version=crate["version"], purl=purl, bom_ref=purl.to_string(),
        type=ComponentType.APPLICATION if program else ComponentType.LIBRARY,
        licenses=[LicenseFactory().make_from_string(licence)] if licence else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else [],
    )


def metadata():
    target = os.environ.get("CARGO_BUILD_TARGET", "x86_64-unknown-linux-gnu")
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    programs = {function: (ROOT / f"target/lambda/{function}/bootstrap").read_bytes() for function in FUNCTIONS}
    Path(sys.argv[1]).write_text(bill(metadata(), (ROOT / "Cargo.lock").read_text(), programs))
