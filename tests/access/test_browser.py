"""The sign-in in a real browser, with the provider at another site than the dashboard, and a third site that would act
for whoever has signed in.
"""

from urllib.parse import quote, urlsplit

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from provider import ISSUER

PATIENCE = 60  # seconds for a page
SESSION = "conductor"


class Window:
    def __init__(self, driver, url):
        self.driver, self.url = driver, url

    def forget(self):
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})

    def open(self, path):
        self.driver.get(self.url + path)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def until(self, condition, what):
        waits = WebDriverWait(self.driver, PATIENCE, poll_frequency=0.1)
        waits.until(lambda _: condition(), f"{what}; at {self.driver.current_url}")

    def place(self):
        """The path of the page, as the dashboard writes it; None at another site."""
        here = self.driver.current_url
        return urlsplit(here.removeprefix(self.url)).path if here.startswith(self.url) else None

    def sign_in(self, name):
        """Fills in the provider's form; is back when the dashboard shows a page."""
        self.until(lambda: urlsplit(self.driver.current_url).path.startswith("/sign-in/"), "the provider asks for a name")
        assert urlsplit(self.driver.current_url).hostname == "localhost"
        self.one("input[name=name]").send_keys(name)
        self.one("button").click()
        self.until(lambda: self.place() not in (None, "/login", "/login/callback"), "the dashboard goes on")

    def says(self):
        return self.one("body").text


@pytest.fixture
def window(chromium, stack, provider):
    window = Window(chromium, stack["bearerApiUrl"])
    window.forget()
    yield window
    window.forget()


def test_who_signs_in_comes_to_the_dashboard_and_stays_until_signing_out(window):
    window.open("/")
    window.sign_in("ada")
    assert window.one("h1").is_displayed()
    assert "ada" in window.one("header").text
    cookie = window.driver.get_cookie(SESSION)
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert window.driver.execute_script("return document.cookie") == ""
    window.open("/deployments")
    assert window.place() == "/deployments"
    window.one("form[action$='/logout'] button").click()
    window.until(lambda: window.one("h1").text == "Signed out", "it says so")
    assert window.driver.get_cookie(SESSION) is None


def test_who_is_sent_to_sign_in_comes_back_to_the_page(window):
    window.open("/audit")
    window.sign_in("vera")
    assert window.place() == "/audit"


def test_who_has_no_role_is_told_so(window):
    window.open("/login")
    window.until(lambda: urlsplit(window.driver.current_url).path.startswith("/sign-in/"), "the provider asks for a name")
    window.one("input[name=name]").send_keys("nobody")
    window.one("button").click()
    window.until(lambda: window.place() == "/login/callback", "the dashboard answers")
    assert "forbidden" in window.says()
    assert window.driver.get_cookie(SESSION) is None


def form(action, fields=""):
    """A page of another site that sends a form at once."""
    page = f"<form method=post action='{action}'>{fields}</form><script>document.forms[0].submit()</script>"
    return "data:text/html," + quote(page)


def test_another_site_does_nothing_for_who_has_signed_in(window, worlds):
    world = worlds("alpha")
    window.open("/")
    window.sign_in("ada")
    paths = (f"/deployments/{world.open}/cancel", f"/deployments/{world.cancelled}/retry",
             f"/applications/{world.application}/environments/{world.environment}/teardown", "/logout")
    for path in paths:
        window.driver.get(form(window.url + path))
        window.until(lambda: not window.driver.current_url.startswith("data:"), "the form is sent")
    deployments = world.api.every("/v1/deployments", environment=world.environment)
    assert {one["id"] for one in deployments} == {world.done, world.open, world.cancelled}
    shown = world.api.get(f"/v1/deployments/{world.open}")
    assert shown["status"] == "InProgress" and not shown.get("cancel")
    # Who has signed in still is, and may: nothing but the other site was in the way.
    window.open(f"/deployments/{world.open}/cancel")
    window.one("form.confirm button").click()
    window.until(lambda: window.place() == f"/deployments/{world.open}", "the deployment's page comes")
    assert world.ended(world.open)["cancel"]["requestedBy"] == f"{ISSUER}|ada"
