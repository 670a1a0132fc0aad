"""Who may deploy in one environment alone uses what others share there, and changes nothing that lives elsewhere."""

import pytest

from world import VERSION, archive


@pytest.fixture
def home(worlds):
    """A world with a second environment, and a second version of its template."""
    world = worlds("alpha")
    world.elsewhere = world.named("elsewhere")
    world.api.put(f"/v1/environments/{world.elsewhere}", {})
    path = f"/v1/resource-templates/{world.type}/versions/2.0.0"
    world.api.done("PUT", path, archive(), {"content-type": "application/zip"})
    return world


def deployed(home, somebody, environment, application, more=None, **options):
    """How a deployment of somebody's ended that wants the same as all others."""
    wanted = {"type": home.type, "params": {"text": home.named("text")}, "templateVersion": VERSION,
              "matching": {"scope": "organisation", "matchOn": ["text"]}, **(more or {})}
    asked = {**home.request({"shared": wanted}, application, environment), **options}
    return home.ended(somebody.post("/v1/deployments", asked)["id"])


def torn_down(home, somebody, environment, application):
    path = f"/v1/applications/{application}/environments/{environment}"
    ended = home.ended(somebody.done("DELETE", path, query={"allowDestroy": "shared"})["id"])
    assert ended["status"] == "Succeeded", ended
    operation, = ended["operations"]
    return operation["effect"]


def test_a_deployer_of_one_environment_changes_and_destroys_nothing_in_another(home, people):
    neighbour = people.somebody("alpha", f"deployer:{home.elsewhere}")
    maker, user = home.named("maker"), home.named("user")
    made = deployed(home, home.api, home.environment, maker, {"retain": True})
    operation, = made["operations"]
    assert (made["status"], operation["effect"]) == ("Succeeded", "created"), made
    resource = f"/v1/resources/{operation['resourceId']}"

    linked = deployed(home, neighbour, home.elsewhere, user, {"retain": False}, refresh=True)
    assert linked["operations"][0]["effect"] == "linked", linked
    assert linked["operations"][0]["resourceId"] == operation["resourceId"]
    assert torn_down(home, home.api, home.environment, maker) == "released"

    # It is the only user now, and whoever may deploy there could do all of this.
    again = deployed(home, neighbour, home.elsewhere, user, {"retain": False}, refresh=True)
    assert again["operations"][0]["effect"] == "unchanged", again
    newer = deployed(home, neighbour, home.elsewhere, user, {"templateVersion": "2.0.0"})
    assert (newer["status"], newer["error"]["code"]) == ("Failed", "forbidden"), newer
    assert home.environment in newer["error"]["detail"]
    shown = home.api.get(resource)
    assert (shown["retain"], shown["templateVersion"], shown["updatedBy"]) == (True, VERSION, made["id"]), shown
    assert torn_down(home, neighbour, home.elsewhere, user) == "retained"
    shown = home.api.get(resource)
    assert (shown["status"], shown["consumers"]) == ("Active", []), shown


def test_who_may_deploy_in_both_takes_what_it_is_the_last_to_use_along(home, people):
    both = people.somebody("alpha", f"deployer:{home.elsewhere}", f"deployer:{home.environment}")
    neighbour = people.somebody("alpha", f"deployer:{home.elsewhere}")
    maker, user, other = home.named("maker"), home.named("user"), home.named("other")
    deployed(home, home.api, home.environment, maker)
    linked = deployed(home, both, home.elsewhere, user)
    assert linked["operations"][0]["effect"] == "linked", linked
    deployed(home, neighbour, home.elsewhere, other)
    assert torn_down(home, home.api, home.environment, maker) == "released"
    newer = deployed(home, both, home.elsewhere, user, refresh=True)
    assert newer["operations"][0]["effect"] == "updated", newer
    assert torn_down(home, neighbour, home.elsewhere, other) == "released"
    assert torn_down(home, both, home.elsewhere, user) == "destroyed"
