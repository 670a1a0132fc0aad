"""The pages of what there is: resources and who uses them, environments, templates, deployments by filter, who did what."""

import uuid

from play import ACTOR, unique


def column(dashboard, heading, place):
    """What the cells of a place say in the table of a section."""
    return dashboard.script("""
        const section = [...document.querySelectorAll("section")].find((one) => one.querySelector("h2")?.textContent === arguments[0]);
        return [...section.querySelectorAll("tbody tr")].map((row) => row.cells[arguments[1]].textContent.trim())""",
        heading, place)


def test_the_users_of_a_shared_resource_are_on_its_page(dashboard, shop):
    dashboard.deployment(shop["second"]).follow("bus", "tr[data-op] a")
    assert dashboard.path() == f"/resources/{shop['bus']}"
    assert dashboard.text("h1") == "team-bus"
    who = column(dashboard, "Consumers", 0)
    assert sorted(who) == sorted([f"{shop['orders']}/main, as bus", f"{shop['billing']}/main, as bus",
                                  f"resource {shop['orders']}.main.store"])
    assert set(column(dashboard, "Consumers", 2)) == {"its Score file", "its dependency"}
    needed_by = column(dashboard, "Dependencies", 0)
    assert needed_by == [f"{shop['orders']}.main.store"]
    # The picture has who uses it, and what stands on it.
    assert [status for _, status in dashboard.nodes()] == ["workload", "workload", "active", "active"]
    assert "tfstate" in dashboard.fact("Location")
    dashboard.picture("resource", whole=True)

    dashboard.follow(f"{shop['orders']}.main.store", "section:nth-of-type(3) th a")
    assert dashboard.path() == f"/resources/{shop['store']}"
    assert "team-bus" in column(dashboard, "Dependencies", 0)
    assert column(dashboard, "History", 1)[0].startswith("resource.")


def test_an_environment_is_shown_with_the_graph_of_its_resources(dashboard, shop):
    dashboard.open("/environments").until(lambda: shop["environment"] in dashboard.text("main"), "the environment is listed")
    dashboard.follow(shop["environment"])
    assert dashboard.text("h1") == f"Environment {shop['environment']}"
    assert dashboard.fact("Type") == "staging"
    assert [status for _, status in dashboard.nodes()] == ["workload", "workload", "active", "active"]
    assert dashboard.script("return document.querySelectorAll('.graph a[href]').length") == 4
    assert len(dashboard.script("return document.querySelector('.graph .heads').getAttribute('d')").split("M")) - 1 >= 3
    dashboard.picture("environment", whole=True)
    dashboard.script("document.querySelector('.graph a').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    dashboard.until(lambda: dashboard.path().startswith(("/resources/", "/applications/")), "a node leads to its record")


def test_deployments_are_filtered_by_environment_application_status_and_text(dashboard, shop):
    def found():
        return [link.rpartition("/")[2] for link in dashboard.script(
            "return [...document.querySelectorAll('table.deployments tbody th a')].map((link) => link.href)")]
    dashboard.open("/deployments")
    dashboard.one("input[name=environment]").send_keys(shop["environment"])
    dashboard.follow("Filter")
    assert found() == [shop["second"], shop["first"]]
    dashboard.one("input[name=application]").send_keys(shop["billing"])
    dashboard.follow("Filter")
    assert found() == [shop["second"]]
    assert dashboard.one("input[name=environment]").get_attribute("value") == shop["environment"]
    dashboard.choose("select[name=status]", "Failed")
    dashboard.follow("Filter")
    assert found() == [] and "No deployment is shown" in dashboard.text("main")
    dashboard.open("/deployments?text=4f2a91c")
    assert shop["first"] in found() and shop["second"] not in found()
    dashboard.follow("Show all")
    assert dashboard.path() == "/deployments"


def test_resources_are_filtered(dashboard, play, shop):
    def found():
        return dashboard.texts("main tbody th a")
    dashboard.open(f"/resources?environment={shop['environment']}")
    assert set(found()) == {"team-bus", f"{shop['orders']}.main.store"}
    dashboard.open(f"/resources?environment={shop['environment']}&application={shop['billing']}")
    assert found() == ["team-bus"]
    dashboard.open(f"/resources?type={play.actor}&text=team-bus&environment={shop['environment']}&status=Active")
    assert found() == ["team-bus"]
    dashboard.open(f"/resources?environment={shop['environment']}&status=Deleted")
    assert found() == []


def test_a_template_is_shown_with_its_versions_inputs_and_outputs(dashboard, play):
    dashboard.open(f"/templates/{play.actor}")
    assert column(dashboard, "Versions", 0) == ["1.0.0"]
    assert column(dashboard, "Inputs", 0) == ["complaint", "needs", "script", "text"]
    assert "What the object is to say" in column(dashboard, "Inputs", 3)
    assert column(dashboard, "Outputs", 0) == ["text"]
    newest = play.template(unique("newest"), ACTOR)
    dashboard.open("/templates")
    assert newest in dashboard.texts("tbody th")


def test_what_was_done_is_found_by_day_and_record(dashboard, shop):
    dashboard.open("/audit")
    day = dashboard.one("input[name=day]").get_attribute("value")
    assert day in dashboard.text("caption")
    dashboard.choose("select[name=noun]", "deployment")
    dashboard.follow("Filter")
    assert {record.partition(" ")[0] for record in dashboard.texts("tbody td:nth-of-type(2)")} == {"deployment"}
    dashboard.follow("The day before")
    assert "Nothing is shown of" in dashboard.text("#live") or day not in dashboard.text("caption")
    dashboard.deployment(shop["first"])
    events = dashboard.texts("section[aria-labelledby=trail] tbody th")
    assert [event.removesuffix("4f2a91c") for event in events] == [
        "deployment.submitted", "deployment.started2 operations", "deployment.succeeded"]


def test_an_application_leads_to_where_it_is(dashboard, shop):
    dashboard.open(f"/applications/{shop['orders']}")
    assert shop["environment"] in dashboard.texts("main tbody th")[0]
    dashboard.follow("Tear down…")
    assert dashboard.path().endswith("/teardown")


def test_what_is_not_there_is_told_on_a_page_that_leads_back(dashboard):
    nobody = uuid.uuid4()
    for path, code in ((f"/deployments/{nobody}", "deployment_not_found"), ("/deployments/x", "id_invalid"),
                       (f"/resources/{nobody}", "resource_not_found"), ("/environments/no-such", "environment_not_found"),
                       ("/nowhere", "route_not_found"), ("/deployments?status=Odd", "query_invalid")):
        dashboard.open(path)
        assert code in dashboard.text(".notice.error"), path
    dashboard.follow("To the overview")
    assert dashboard.text("h1") == "Overview"
    dashboard.expect_fault("the server responded with a status of 4")
