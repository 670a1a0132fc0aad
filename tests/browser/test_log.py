"""The log of a deployment as the page has it: complete and in order, whatever the connection does, and filtered."""

import re


def rows_of_text(text):
    """The text log without its times, by resource: a row that is indented goes on with the one before it."""
    rows = []
    for row in text.splitlines():
        if row.startswith("    "):
            rows[-1] += "\n" + row[4:]
        else:
            rows.append(re.sub(r" \[\d+s\]$", "", row.partition(" ")[2]))
    return rows


def rows_of_page(log):
    """What the page has, written as the text log writes it."""
    def row(line):
        about = " ".join(part for part in (line["resource"], line["address"]) if part)
        return f"{line['level'].upper():<5} {about + ': ' if about else ''}{line['said']}"
    return ["\n".join(row(line).splitlines()) for line in log]


def by_resource(rows, resources):
    """Only the order within an operation is promised."""
    def resource(row):
        name = re.split(r"[: ]", row[6:], maxsplit=1)[0]
        return name if name in resources else ""
    return {name: [row for row in rows if resource(row) == name] for name in ("", *resources)}


def chatty(play, first, second):
    """Says something all the time, and stops twice."""
    says = [[f"part {part} row {number}" for number in range(30)] for part in range(3)]
    with_pauses = [[step for row in rows for step in (row, "pause")] for rows in says]
    return play.acts(*with_pauses[0], f"wait {first}", *with_pauses[1], f"wait {second}", *with_pauses[2])


def test_every_line_is_on_the_page_once_and_in_order_through_reconnects_and_a_network_that_breaks(dashboard, play):
    first, second = play.gate(), play.gate()
    resources = {"left": chatty(play, first, second), "right": chatty(play, first, second)}
    id = play.deploy(play.environment(), resources)
    dashboard.deployment(id)
    dashboard.until(lambda: sum("part 0 row 29" in said for said in dashboard.said()) == 2, "both have said their first part")
    # The emulator's gateway ends each answer, so the browser has come again many times by now.
    asked = dashboard.events()
    assert asked >= 2

    dashboard.connected(False)
    dashboard.expect_fault("ERR_INTERNET_DISCONNECTED")
    dashboard.until(lambda: dashboard.text("#freshness") != "Live", "the page says that it is not up to date")
    shown = len(dashboard.log())
    first.touch()
    play.said(id, "part 1 row 29", times=2)
    assert len(dashboard.log()) == shown
    dashboard.connected(True)
    dashboard.until(lambda: sum("part 1 row 29" in said for said in dashboard.said()) == 2, "what was missed has come")
    second.touch()
    dashboard.until_log_ends()
    dashboard.until_status("Succeeded")

    page = rows_of_page(dashboard.log())
    text = rows_of_text(play.text_log(id))
    assert len(page) == len(text) > 180
    assert by_resource(page, resources) == by_resource(text, resources)


def test_a_page_that_is_opened_later_has_the_whole_log(dashboard, play, shop):
    dashboard.deployment(shop["first"]).until_log_ends()
    assert rows_of_page(dashboard.log()) == rows_of_text(play.text_log(shop["first"]))


def test_the_log_is_filtered_by_operation_and_by_level(dashboard, play, failed):
    dashboard.deployment(failed["id"]).until_log_ends()
    everything = dashboard.log()
    assert {row["resource"] for row in everything} == {"", "fine", "broken", "never"}

    dashboard.choose("#log-operation", "broken")
    dashboard.until(lambda: {row["resource"] for row in dashboard.log()} == {"broken"}, "only one operation is shown")
    dashboard.until_log_ends()
    assert dashboard.log() == [row for row in everything if row["resource"] == "broken"]

    dashboard.choose("#log-level", "error")
    dashboard.until(lambda: {row["level"] for row in dashboard.log()} == {"error"}, "only errors are shown")
    dashboard.until_log_ends()
    errors = [row for row in everything if row["resource"] == "broken" and row["level"] == "error"]
    assert dashboard.log() == errors != []

    dashboard.choose("#log-level", "debug")
    dashboard.choose("#log-operation", "All")
    dashboard.until(lambda: len(dashboard.log()) > len(everything), "all levels of all operations are shown")
    dashboard.until_log_ends()
    assert [row for row in dashboard.log() if row["level"] != "debug"] == everything


def test_the_log_is_also_there_as_text(dashboard, play, shop):
    dashboard.expect_fault("/favicon.ico")
    dashboard.deployment(shop["first"]).follow("As text")
    assert dashboard.one("body").text.splitlines() == play.text_log(shop["first"]).splitlines()
