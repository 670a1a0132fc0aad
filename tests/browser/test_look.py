"""How the pages look: in light and in dark, on a desk and on a phone. Pictures of them are left in target/screenshots."""

import pytest

from play import pages

SCHEMES = ("light", "dark")
ENOUGH = 4.5  # WCAG 2 AA for text
BACKGROUND = "return getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)"


def test_every_text_can_be_read_in_light_and_in_dark(dashboard, failed, shop):
    faint = {}
    for name, path in pages(shop, failed).items():
        dashboard.open(path)
        dashboard.settle()
        for scheme in SCHEMES:
            dashboard.scheme(scheme)
            background = dashboard.script(BACKGROUND)
            assert max(background) < 60 if scheme == "dark" else min(background) > 200, (name, background)
            found = dashboard.contrasts()
            assert len(found) > 5, name
            faint |= {f"{name}, {scheme}: {one['name']} {one['text']!r}": round(one["ratio"], 2)
                      for one in found if one["ratio"] < ENOUGH}
            dashboard.picture(f"{name}-{scheme}")
    assert faint == {}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_status_and_level_can_be_read_in_light_and_in_dark(dashboard, shop, scheme):
    """Also those that no page has now: what the style sheet names is put on a page."""
    dashboard.scheme(scheme)
    dashboard.deployment(shop["first"])
    classes = dashboard.script("""
        const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]).map((rule) => rule.selectorText ?? "");
        const named = (kind) => [...new Set(rules.join(" ").match(new RegExp(`\\\\.${kind}-[a-z]+`, "g")))].map((name) => name.slice(1));
        const live = document.getElementById("live");
        for (const kind of ["waiting", "deleted", "retained"]) live.append(Object.assign(document.createElement("span"),
          { className: `badge badge-${kind}`, textContent: kind }));
        for (const name of named("badge")) live.append(Object.assign(document.createElement("span"),
          { className: `badge ${name}`, textContent: name }));
        for (const name of named("level")) live.append(Object.assign(document.createElement("p"),
          { className: name, textContent: name }));
        for (const name of ["warning", "error"]) live.append(Object.assign(document.createElement("div"),
          { className: `notice ${name}`, textContent: name }));
        for (const name of named("status")) {
          const node = document.querySelector(".graph a").cloneNode(true);
          node.querySelector("g").setAttribute("class", `node ${name}`);
          document.querySelector(".graph").append(node);
        }
        return [named("badge"), named("level"), named("status")];""")
    assert all(len(kinds) > 1 for kinds in classes) and len(classes[0]) > 10, classes
    faint = {one["name"]: round(one["ratio"], 2) for one in dashboard.contrasts() if one["ratio"] < ENOUGH}
    assert faint == {}


def test_on_a_phone_no_page_is_wider_than_the_screen(dashboard, failed, shop):
    dashboard.phone()
    wide = {}
    for name, path in pages(shop, failed).items():
        dashboard.open(path)
        dashboard.settle()
        seen, needed = dashboard.script("return [innerWidth, document.documentElement.scrollWidth]")
        if (seen, needed) != (360, 360):
            wide[name] = (seen, needed, dashboard.script("""
                return [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > 361 &&
                  !one.closest(".scroll, .graph-box, .timeline-box, .tall, .log, nav, pre"))
                  .slice(0, 3).map((one) => one.outerHTML.slice(0, 120))"""))
        dashboard.picture(f"{name}-phone")
    assert wide == {}


def test_on_a_phone_what_can_be_touched_is_not_too_small(dashboard, failed, shop):
    dashboard.phone()
    dashboard.deployment(failed["id"])
    dashboard.settle()
    # WCAG 2.2 AA: 24 px, for what is not in a line of text.
    small = dashboard.script("""
        return [...document.querySelectorAll("button, .button, select, .top nav a")]
          .map((one) => [one.textContent.trim().slice(0, 20), one.getBoundingClientRect().height]).filter(([, height]) => height < 24)""")
    assert small == []


def test_who_wants_no_motion_gets_none(dashboard, play):
    gate = play.gate()
    id = play.deploy(play.environment(), {"slow": play.acts("begins", f"wait {gate}")})
    play.until(id, slow="Running")
    moving = "return document.getAnimations().filter((one) => one.playState === 'running').length"
    dashboard.deployment(id)
    dashboard.until(lambda: dashboard.script(moving) > 0, "what runs is seen to run")
    dashboard.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    dashboard.until(lambda: dashboard.script(moving) == 0, "nothing moves")
    gate.touch()
    play.ended(id)
