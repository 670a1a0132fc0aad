"""Owns the browser and the stack that the tests look at: one Chromium for all tests, in a profile that goes with it."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from dashboard import WATCH, Dashboard
from infra.local import stack as stacks
from play import Play

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1280,900")


@pytest.fixture(scope="session")
def stack():
    return stacks.load()


@pytest.fixture(scope="session")
def play(stack):
    play = Play(stack)
    yield play
    play.end()


@pytest.fixture(scope="session")
def driver():
    program, keeper = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not keeper:
        missing = "chromium and chromedriver must be on the PATH (Debian: chromium, chromium-driver)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    profile = Path(tempfile.mkdtemp(prefix="conductor-browser-"))
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # With its path given, selenium looks for no driver and fetches none.
    driver = webdriver.Chrome(options=options, service=Service(keeper))
    try:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture
def dashboard(driver, stack):
    """The dashboard in a browser that is as it was started. Afterwards: nothing went wrong in it."""
    dashboard = Dashboard(driver, stack["apiUrl"])
    dashboard.as_started()
    yield dashboard
    assert dashboard.faults() == []
    assert dashboard.strangers() == []


@pytest.fixture(scope="session")
def shop(play):
    """Two applications that share a resource, one with a resource of its own that needs it; all have ended."""
    return play.shop()


@pytest.fixture(scope="session")
def failed(play):
    """A deployment that failed, and one of whose operations did not."""
    return play.failed()


@pytest.fixture(scope="session")
def large(play):
    """A deployment of 200 operations that has succeeded."""
    return play.large()
