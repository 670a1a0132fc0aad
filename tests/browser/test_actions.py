"""What can be done from the pages, each after a page that says what will go and what will stay."""

from selenium.webdriver.common.keys import Keys

from play import unique


def fates(dashboard):
    """What the confirmation says of each resource."""
    return dashboard.script("""
        return Object.fromEntries([...document.querySelectorAll(".fate")].map((fate) => [
          fate.querySelector("h2").firstChild.textContent.trim(),
          [...fate.querySelectorAll("li, label")].map((one) => one.textContent.trim().split(" ")[0])]))""")


def half_way(play):
    """A deployment that has made one resource, makes another, and has one still to make."""
    gate = play.gate()
    resources = {"made": play.acts("made"), "slow": play.acts("slow begins", f"wait {gate}"),
                 "later": play.acts(after=["slow"])}
    id = play.deploy(play.environment(), resources)
    play.said(id, "slow begins")
    return play.until(id, made="Succeeded", slow="Running")


def resource_of(deployment, name):
    return next(operation["resourceId"] for operation in deployment["operations"] if operation["resource"] == name)


def test_a_cancel_says_what_goes_and_what_stays_and_then_does_it(dashboard, play):
    deployment = half_way(play)
    dashboard.deployment(deployment["id"]).follow("Cancel…")
    assert fates(dashboard) == {"Stops now": ["slow"], "Does not start": ["later"], "Goes, unless you keep it": ["made"]}
    assert dashboard.texts("fieldset label") == ["is let go of: what nobody else uses is destroyed", "stays"]
    dashboard.picture("cancel")
    dashboard.follow("Cancel the deployment")
    assert dashboard.path() == f"/deployments/{deployment['id']}"
    dashboard.until_status("Cancelled")
    dashboard.until_log_ends()
    assert "Nothing of it is left." in dashboard.text(".notice.warning")
    assert set(dashboard.operations()) >= {
        ("made", "acquire", "Succeeded"), ("slow", "acquire", "Cancelled"), ("later", "acquire", "Cancelled"),
        ("made", "release", "Succeeded")}
    assert play.resource(resource_of(deployment, "made"))["status"] == "Deleted"
    dashboard.picture("cancelled")


def test_a_cancel_is_asked_for_and_confirmed_with_the_keyboard_alone_and_may_keep_what_is_there(dashboard, play):
    deployment = half_way(play)
    dashboard.deployment(deployment["id"])
    dashboard.tab_to("Cancel…")
    dashboard.press(Keys.ENTER)
    dashboard.until(lambda: dashboard.path().endswith("/cancel"), "the confirmation is there")
    dashboard.tab_to("is let go of: what nobody else uses is destroyed")
    dashboard.press(Keys.ARROW_DOWN)
    dashboard.tab_to("Cancel the deployment")
    dashboard.press(Keys.ENTER)
    dashboard.until(lambda: dashboard.path() == f"/deployments/{deployment['id']}", "the deployment is shown again")
    dashboard.until_status("Cancelled")
    assert "made" in dashboard.text(".notice.warning")
    assert play.resource(resource_of(deployment, "made"))["status"] == "Active"


def test_a_deployment_that_failed_is_retried_from_its_page(dashboard, failed):
    dashboard.deployment(failed["id"])
    assert dashboard.status() == "Failed"
    assert "It is not there yet." in dashboard.text("#op-1 ~ tr .diagnostic, tr.details .diagnostic")
    dashboard.picture("failed", whole=True)
    failed["gate"].touch()
    dashboard.follow("Retry…")
    found = fates(dashboard)
    assert found == {"Is gone on with": ["broken", "never"], "Stays as it is": ["fine"]}
    dashboard.follow("Try again")
    assert dashboard.path() != f"/deployments/{failed['id']}"
    dashboard.until_status("Succeeded")
    assert dashboard.fact("Retry of") == failed["id"][-8:]
    effects = dashboard.script("""
        return Object.fromEntries([...document.querySelectorAll("tr[data-op]")].map((row) =>
          [row.cells[0].firstChild.textContent, row.cells[2].firstChild.textContent]))""")
    assert effects == {"fine": "Unchanged", "broken": "Created", "never": "Created"}


def test_a_form_that_is_sent_twice_makes_one_retry(dashboard, play):
    """The page before is still in the browser's history, and its form is the same."""
    gate = play.gate()
    ended = play.run(play.environment(), {"broken": play.acts(needs=str(gate))}, unique("twice"), expect="Failed")
    gate.touch()
    dashboard.open(f"/deployments/{ended['id']}/retry").follow("Try again")
    first = dashboard.path()
    dashboard.driver.back()
    dashboard.follow("Try again")
    assert dashboard.path() == first


def test_a_teardown_says_what_goes_and_what_others_keep(dashboard, play):
    shop = play.shop()
    dashboard.deployment(shop["first"]).follow("Tear down…")
    assert dashboard.text("h1") == f"Tear down {shop['orders']} in {shop['environment']}?"
    # Orders itself lets go of the bus, and so does its store, which depends on it.
    assert fates(dashboard) == {"Goes": ["store"], "Stays": ["bus", "team-bus"]}
    dashboard.picture("teardown")
    dashboard.follow("Tear down")
    dashboard.until_status("Succeeded")
    assert play.resource(shop["store"])["status"] == "Deleted"
    consumers = play.resource(shop["bus"])["consumers"]
    assert [consumer["application"] for consumer in consumers] == [shop["billing"]]
    dashboard.open(f"/applications/{shop['orders']}/environments/{shop['environment']}/teardown")
    assert "There is nothing to let go of." in dashboard.text("main")


def test_what_a_protected_environment_keeps_is_destroyed_only_where_it_is_ticked(dashboard, play):
    environment, application = play.environment(protected=True), unique("app")
    done = play.run(environment, {"keep": play.acts(), "drop": play.acts()}, application)
    dashboard.open(f"/applications/{application}/environments/{environment}/teardown")
    assert fates(dashboard) == {"Protected": ["drop", "keep"]}
    dashboard.one(f"input[name=allowDestroy][value='{resource_of(done, 'drop')}']").click()
    dashboard.follow("Tear down what may go")
    dashboard.until_status("Failed")
    assert play.resource(resource_of(done, "drop"))["status"] == "Deleted"
    assert play.resource(resource_of(done, "keep"))["status"] == "Active"


def test_an_action_that_is_too_late_is_refused_on_a_page(dashboard, shop):
    for action, told in (("cancel", "deployment_finished"), ("retry", "not_retryable")):
        dashboard.open(f"/deployments/{shop['first']}/{action}")
        assert told in dashboard.text(".notice.error")
    dashboard.expect_fault("the server responded with a status of 4")
