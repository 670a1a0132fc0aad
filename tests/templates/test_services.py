"""infra/templates/services.json: does each template that ships name the AWS services that its module works with?

A session of its operations reaches no others, so a service that is missing is a template that cannot be applied.
"""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "infra" / "templates"
SERVICES = json.loads((FOLDER / "services.json").read_text())
TEMPLATES = sorted(path.parent.name for path in FOLDER.glob("*/VERSION"))

# What the types of a service's resources begin with, and what its actions begin with.
PREFIXES = {
    "aws_db_": "rds",
    "aws_dynamodb_": "dynamodb",
    "aws_elasticache_": "elasticache",
    "aws_lb_": "elasticloadbalancing",
    "aws_route53_": "route53",
    "aws_s3_": "s3",
    "aws_sns_": "sns",
    "aws_sqs_": "sqs",
}
# Services that ask KMS in the name of whoever makes something with a key. The others first do so when it is used.
WITH_KEYS = {"rds", "dynamodb", "elasticache"}


def text(template):
    return (FOLDER / template / "main.tf").read_text()


def test_every_template_and_nothing_else_is_listed():
    assert sorted(SERVICES) == TEMPLATES


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_names_the_service_of_every_type_that_it_has(template):
    types = re.findall(r'^(?:resource|data) "(aws_\w+)"', text(template), re.M)
    needed = {service for kind in types for prefix, service in PREFIXES.items() if kind.startswith(prefix)}
    assert all(any(kind.startswith(prefix) for prefix in PREFIXES) for kind in types), types
    if "kms" in text(template) and needed & WITH_KEYS:
        needed.add("kms")
    assert needed <= set(SERVICES[template])


@pytest.mark.parametrize("template", TEMPLATES)
def test_only_what_works_with_aws_names_services_and_each_once(template):
    named = SERVICES[template]
    assert named == sorted(set(named))
    assert bool(named) == ('"aws_' in text(template))
