"""Owns the browser of all tests that have one: one Chromium, in a profile that goes with it."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1280,900")


@pytest.fixture(scope="session")
def chromium():
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
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)
