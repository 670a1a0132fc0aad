"""Whom the role of an environment's account trusts, read from its template."""

import yaml

from tests.stack.stack_template import NOTHING, ROOT, Loader

DOCUMENT = yaml.load((ROOT / "infra/target-account.yaml").read_text(), Loader)
TAG = "aws:RequestTag/conductor:organisation"


def resolved(value, is_one):
    """With or without an organisation."""
    if isinstance(value, dict):
        if value.keys() == {"If"} and value["If"][0] == "HasOrganisation":
            return resolved(value["If"][1 if is_one else 2], is_one)
        each = {key: resolved(part, is_one) for key, part in value.items()}
        return {key: part for key, part in each.items() if part != NOTHING}
    return value


def conditions(is_one):
    statements = DOCUMENT["Resources"]["Role"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    return {statement["Action"]: resolved(statement, is_one).get("Condition") for statement in statements}


def test_a_role_of_one_organisation_asks_for_its_tag():
    tag, external_id = {TAG: {"Ref": "Organisation"}}, {"sts:ExternalId": {"Ref": "ExternalId"}}
    assert conditions(True) == {"sts:AssumeRole": {"StringEquals": external_id | tag}, "sts:TagSession": {"StringEquals": tag}}
    assert DOCUMENT["Conditions"]["HasOrganisation"] == {"Not": [{"Equals": [{"Ref": "Organisation"}, "none"]}]}


def test_a_role_of_all_asks_for_its_external_id_alone():
    assert DOCUMENT["Parameters"]["Organisation"]["Default"] == "none"
    assert conditions(False) == {"sts:AssumeRole": {"StringEquals": {"sts:ExternalId": {"Ref": "ExternalId"}}}, "sts:TagSession": None}
