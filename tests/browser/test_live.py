"""A deployment is watched while it runs, from its first line to its end."""

from play import unique


def test_a_deployment_is_watched_live_to_its_end_without_a_reload(dashboard, play):
    gate = play.gate()
    steps = {"one": play.acts("one begins", f"wait {gate}", "one is done"), "beside": play.acts("beside"),
             "two": play.acts("two speaks", text="${one.text}"), "three": play.acts("three speaks", after=["two"])}
    id = play.deploy(play.environment(), steps, metadata={"by": "a test"})
    dashboard.deployment(id)
    dashboard.script("window.mark = 'the page that was opened'")

    dashboard.until(lambda: "one begins" in " ".join(dashboard.said()), "a line of terraform's comes while it runs")
    dashboard.until(lambda: dashboard.progress() == "1 of 4 operations", "the first operation has ended")
    assert dashboard.status() == "In progress"
    dashboard.until(lambda: dashboard.nodes() == [
        ("beside", "succeeded"), ("one", "running"), ("three", "waiting"), ("two", "waiting"),
    ], "the graph shows how each operation stands")
    assert set(dashboard.bars()) == {"one", "beside"}
    assert "one is done" not in " ".join(dashboard.said())
    assert "heartbeat" in dashboard.text("tr[data-op]:has(.badge-running) td:first-of-type")
    assert dashboard.text("#freshness") == "Live"
    running = dashboard.text("tr[data-op]:has(.badge-running) [data-since]")
    dashboard.until(lambda: dashboard.texts("tr[data-op]:has(.badge-running) [data-since]") != [running], "time goes on")
    dashboard.picture("deployment-running")

    gate.touch()
    dashboard.until_status("Succeeded")
    dashboard.until_log_ends()
    assert dashboard.progress() == "4 of 4 operations"
    assert {status for _, status in dashboard.nodes()} == {"succeeded"}
    assert set(dashboard.bars()) == {"one", "beside", "two", "three"}
    said = " ".join(dashboard.said())
    assert said.index("one is done") < said.index("two speaks") < said.index("three speaks")
    assert dashboard.said()[-1] == "succeeded"
    assert "Succeeded" in dashboard.driver.title
    assert not [link for link in dashboard.texts(".actions a") if link.startswith("Cancel")]
    assert dashboard.script("return window.mark") == "the page that was opened"
    dashboard.picture("deployment", whole=True)


def test_what_a_reader_has_opened_chosen_or_scrolled_to_stays_while_the_page_is_kept_up_to_date(dashboard, play):
    gate = play.gate()
    resources = {"first": play.acts("begins", f"wait {gate}"), "second": play.acts(after=["first"])}
    id = play.deploy(play.environment(), resources)
    dashboard.deployment(id)
    dashboard.until(lambda: dashboard.texts("tr[data-op]:has(.badge-running)"), "an operation runs")
    # Scrolled away from the top, a line below opened, the keyboard on a link.
    dashboard.script("""
        document.querySelector("details.steps").scrollIntoView({ block: "center" });
        document.querySelector("details.steps").open = true;
        document.querySelector("tr[data-op] th a").focus({ preventScroll: true });
        getSelection().selectAllChildren(document.querySelector("h1"));
    """)
    look = """return {
        place: scrollY, focus: document.activeElement.textContent, selected: String(getSelection()),
        open: document.querySelector("details.steps").open }"""
    before = dashboard.script(look)
    assert before["open"] and before["place"] > 200 and before["focus"] == "first"
    gate.touch()
    dashboard.until_status("Succeeded")
    assert dashboard.script(look) == before


def test_the_overview_and_the_list_show_what_runs_and_what_became_of_it(dashboard, play):
    gate, application = play.gate(), unique("watched")
    environment = play.environment()
    id = play.deploy(environment, {"slow": play.acts("begins", f"wait {gate}")}, application)
    play.until(id, slow="Running")
    dashboard.open("/")
    row = "table.running tr:has(a[href*='%s'])" % id
    assert f"{application}/main in {environment}" in dashboard.text(row)
    assert " ago" in dashboard.text(f"{row} td:last-child")
    dashboard.picture("overview-running")

    dashboard.open(f"/deployments?application={application}")
    assert dashboard.text("table.deployments .badge") == "In progress"
    assert dashboard.text("table.deployments td:nth-of-type(3)").startswith("0 of 1")
    dashboard.script("window.mark = 1")
    gate.touch()
    dashboard.until(lambda: dashboard.text("table.deployments .badge") == "Succeeded", "the list shows the end by itself")
    assert dashboard.script("return window.mark") == 1
