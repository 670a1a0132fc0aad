"""Owns template.yaml as tests read it: the document, and what a stack with given parameters has of it."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
NOTHING = {"Ref": "AWS::NoValue"}


class Loader(yaml.SafeLoader):
    """Reads `!Ref x` as {"Ref": x}, and so on."""


def tagged(loader, tag, node):
    read = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: loader.construct_sequence,
            yaml.MappingNode: loader.construct_mapping}[type(node)]
    return {tag: read(node, deep=True) if type(node) is not yaml.ScalarNode else read(node)}


Loader.add_multi_constructor("!", tagged)
DOCUMENT = yaml.load((ROOT / "template.yaml").read_text(), Loader)
PARAMETERS = DOCUMENT["Parameters"]


def resources(kind=None, **parameters):
    """The resources of a stack, by name, as far as its conditions decide. Parameters that are not given are the usual ones."""
    assert parameters.keys() <= PARAMETERS.keys()
    given = {name: str(parameters.get(name, declared.get("Default", ""))) for name, declared in PARAMETERS.items()}
    holds = {name: truth(condition, given) for name, condition in DOCUMENT["Conditions"].items()}
    return {name: decided(resource, holds) for name, resource in DOCUMENT["Resources"].items()
            if holds.get(resource.get("Condition"), True) and kind in (None, resource["Type"])}


def properties(kind, **parameters):
    return {name: resource["Properties"] for name, resource in resources(kind, **parameters).items()}


def truth(condition, given):
    ((function, arguments),) = condition.items()
    if function == "Equals":
        first, second = (text(argument, given) for argument in arguments)
        return first == second
    each = [truth(argument, given) for argument in arguments]
    return {"Not": lambda: not each[0], "Or": lambda: any(each), "And": lambda: all(each)}[function]()


def text(value, given):
    if not isinstance(value, dict):
        return str(value)
    ((function, argument),) = value.items()
    return given[argument] if function == "Ref" else text(argument[1], given)  # a Join of one list


def decided(value, holds):
    if isinstance(value, list):
        return [one for one in (decided(one, holds) for one in value) if one != NOTHING]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"If"}:
        condition, yes, no = value["If"]
        return decided(yes if holds[condition] else no, holds)
    each = {key: decided(one, holds) for key, one in value.items()}
    return {key: one for key, one in each.items() if one != NOTHING}
