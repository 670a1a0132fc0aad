"""The pages with the keyboard alone, and to who hears them: structure, names, focus."""

from selenium.webdriver.common.keys import Keys

from play import pages

# What is wrong with the structure of a page, as a list.
STRUCTURE = """
const wrong = [];
const say = (what, ones) => ones.forEach((one) => wrong.push(`${what}: ${one.outerHTML?.slice(0, 100) ?? one}`));
const all = (selector) => [...document.querySelectorAll(selector)];
if (document.documentElement.lang !== "en") wrong.push("no language");
if (!document.title.endsWith(" · Conductor")) wrong.push(`title: ${document.title}`);
for (const selector of ["h1", "main", "header.top", "nav[aria-label=Main]"]) {
  if (all(selector).length !== 1) wrong.push(`${all(selector).length} ${selector}`);
}
if (all("nav[aria-label=Main] [aria-current=page]").length > 1) wrong.push("two current pages");
const name = (one) => (one.getAttribute("aria-label") ?? "") + [...(one.labels ?? [])].map((label) => label.textContent).join("") +
  (one.matches("a, button, summary") ? one.textContent : "");
say("no name", all("a, button, summary, input:not([type=hidden]), select, nav, [role=region]").filter((one) => !name(one).trim()));
say("a heading is left out", all("h1, h2, h3, h4").filter((one, index, every) =>
  index > 0 && Number(one.nodeName[1]) > Number(every[index - 1].nodeName[1]) + 1));
say("a table without headings", all("table").filter((table) => !table.querySelector("th[scope=col]")));
say("a heading of a table without scope", all("th:not([scope])"));
say("no alternative", all("svg:not([aria-label]):not([aria-hidden])"));
say("no alternative", all("img:not([alt])"));
say("a list of other things", all("ul > :not(li), ol > :not(li)"));
const ids = all("[id]").map((one) => one.id);
say("twice", ids.filter((id, index) => ids.indexOf(id) !== index));
say("leads nowhere", all("a[href^='#']").filter((link) => !document.getElementById(link.getAttribute("href").slice(1))));
say("not labelled", all("[aria-labelledby]").filter((one) => !document.getElementById(one.getAttribute("aria-labelledby"))));
say("scrolls without the keyboard", all("div, pre").filter((one) => one.checkVisibility() && one.tabIndex < 0 &&
  ["auto", "scroll"].includes(getComputedStyle(one).overflowX) && one.scrollWidth > one.clientWidth + 1 &&
  !one.querySelector("a, button, [tabindex]")));
return wrong;
"""


def test_every_page_has_one_heading_landmarks_and_names_for_what_can_be_used(dashboard, failed, shop):
    wrong = {}
    for name, path in pages(shop, failed).items():
        dashboard.open(path)
        dashboard.settle()
        if found := dashboard.script(STRUCTURE):
            wrong[name] = found
    assert wrong == {}


def test_the_keyboard_comes_to_the_content_then_the_navigation_then_what_can_be_done(dashboard, failed):
    dashboard.deployment(failed["id"])
    dashboard.settle()
    order = []
    for _ in range(16):
        dashboard.press(Keys.TAB)
        order.append(dashboard.focus())
        # Whatever has the focus can be seen to have it.
        assert dashboard.script("""
            const one = document.activeElement;
            const { outlineStyle, outlineWidth } = getComputedStyle(one);
            const place = one.getBoundingClientRect();
            return outlineStyle !== "none" && parseFloat(outlineWidth) >= 1 && place.top >= 0 && place.bottom <= innerHeight"""), order
    assert order[:8] == ["Skip to the content", "Conductor", "Overview", "Deployments", "Resources", "Environments",
                         "Templates", "Audit"]
    assert order[8:11] == [failed["environment"], "Retry…", "Tear down…"]
    assert order[11:15] == ["Operations", "Log", "Who did what", "The file"]


def test_who_skips_to_the_content_goes_on_in_it(dashboard, failed):
    dashboard.deployment(failed["id"])
    dashboard.settle()
    dashboard.press(Keys.TAB)
    assert dashboard.script("return document.activeElement.getBoundingClientRect().top >= 0")
    dashboard.press(Keys.ENTER)
    dashboard.press(Keys.TAB)
    assert dashboard.focus() == failed["environment"]


def test_the_log_is_filtered_and_scrolled_with_the_keyboard(dashboard, shop):
    dashboard.deployment(shop["first"])
    dashboard.settle()
    dashboard.tab_to("Operation" + "".join(dashboard.texts("#log-operation option")))
    dashboard.press(Keys.ARROW_DOWN)
    dashboard.until(lambda: len({row["resource"] for row in dashboard.log()}) == 1, "one operation is chosen")
    dashboard.press(Keys.ARROW_UP)
    dashboard.settle()
    dashboard.tab_to(dashboard.text("#log"))
    place = "return document.getElementById('log').scrollTop"
    assert dashboard.script(place) > 100
    dashboard.press(Keys.HOME)
    dashboard.until(lambda: dashboard.script(place) == 0, "the log is at its beginning")
    # Who reads further up is not carried away.
    assert not dashboard.script("return document.getElementById('log-follow').checked")


def test_what_changes_is_said(dashboard, play):
    """The status, the state of the log and whether the page is up to date are announced; the log is, politely."""
    gate = play.gate()
    id = play.deploy(play.environment(), {"slow": play.acts("begins", f"wait {gate}")})
    play.until(id, slow="Running")
    dashboard.deployment(id)
    assert dashboard.script("return [...document.querySelectorAll('[role=status]')].map((one) => one.id || one.textContent)") == [
        "freshness", "0 of 1 operations", "log-state"]
    assert dashboard.script("return document.getElementById('log').getAttribute('role')") == "log"
    gate.touch()
    dashboard.until_status("Succeeded")
    assert dashboard.progress() == "1 of 1 operations"
