"""Owns the dashboard as a browser has it: opening its pages, reading them, pressing keys, and what went wrong on the way.

It waits for conditions, with a deadline; it knows the pages' structure and nothing of Conductor.
"""

import base64
import json
from urllib.parse import urlsplit

from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from infra.local import ROOT

PICTURES = ROOT / "target/screenshots"
PATIENCE = 60  # seconds
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
DESK = (1280, 900)

# Is in every page before its own script is: counts what holds it up.
WATCH = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
}).observe({ type: "longtask", buffered: true });
"""

# The rows of the log, taken apart. What a line says is without its address and without how long it took.
LOG = """
return [...document.querySelectorAll("#log .line")].map((row) => {
  const text = (part) => row.querySelector(part)?.textContent ?? "";
  const said = row.querySelector(".message").cloneNode(true);
  said.querySelectorAll(".address, .elapsed").forEach((part) => part.remove());
  return { resource: text(".resource"), level: text(".level"), address: text(".address").trim(), said: said.textContent };
});
"""

# Each text that can be seen, with its colour against what is behind it (WCAG 2, relative luminance).
CONTRASTS = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
function colour(text) {
  const numbers = text.match(/-?[\\d.]+(e-?\\d+)?/g).map(Number);
  const [red, green, blue, alpha = 1] = numbers;
  return text.startsWith("color(") ? [red * 255, green * 255, blue * 255, alpha] : [red, green, blue, alpha];
}
const over = (top, below) => [0, 1, 2].map((index) => top[index] * top[3] + below[index] * (1 - top[3])).concat(1);
function behind(element) {
  const node = element.closest(".node");
  if (node) return colour(getComputedStyle(node.querySelector("rect")).fill);
  const layers = [];
  for (let one = element; one; one = one.parentElement) {
    layers.push(colour(getComputedStyle(one).backgroundColor));
    if (layers.at(-1)[3] === 1) break;
  }
  return layers.reduceRight((below, top) => over(top, below), [255, 255, 255, 1]);
}
function luminance([red, green, blue]) {
  const linear = [red, green, blue].map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}
const found = new Map();
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  const text = texts.currentNode.textContent.trim();
  if (!text || element.closest("title, option, noscript") || !element.checkVisibility()) continue;
  const style = getComputedStyle(element);
  const below = behind(element);
  const front = over(colour(element.closest("svg") ? style.fill : style.color), below);
  const [light, dark] = [luminance(front), luminance(below)].sort((one, other) => other - one);
  const ratio = (light + 0.05) / (dark + 0.05);
  const name = `${element.nodeName.toLowerCase()}.${element.getAttribute("class") ?? ""} in ` +
    `${element.parentElement.nodeName.toLowerCase()}.${element.parentElement.getAttribute("class") ?? ""}`;
  if (!(found.get(name)?.ratio <= ratio)) found.set(name, { name, text: text.slice(0, 40), ratio });
}
return [...found.values()];
"""


class Dashboard:
    def __init__(self, driver, url):
        self.driver, self.url = driver, url
        self.origin = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
        self.requests, self.sizes, self.expected = {}, {}, []

    def as_started(self):
        """No page, no picture of another device, no earlier events."""
        self.driver.get("about:blank")
        self.cdp("Emulation.clearDeviceMetricsOverride")
        self.cdp("Emulation.setEmulatedMedia", media="", features=[])
        self.cdp("Network.enable")
        self.connected(True)
        self.driver.set_window_size(*DESK)
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    # Going somewhere

    def open(self, path="/"):
        self.driver.get(self.url + path)
        return self

    def path(self):
        return self.driver.current_url.removeprefix(self.url)

    def deployment(self, id):
        return self.open(f"/deployments/{id}")

    def follow(self, text, among="a, button"):
        """Clicks the link or the button of this text, which leads to another page."""
        element = self.named(text, among)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'}); window.left = true", element)
        element.click()
        self.until(lambda: not self.script("return window.left"), f"{text} leads to another page")
        return self

    def named(self, text, among):
        found = [element for element in self.all(among) if element.text.strip() == text]
        assert len(found) == 1, f"{len(found)} of {among} are called {text!r} on {self.path()}"
        return found[0]

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def tab_to(self, text, most=60):
        """Presses the tabulator until what says this, or what is labelled so, has the focus."""
        for _ in range(most):
            self.press(Keys.TAB)
            if self.focus() == text:
                return
        raise AssertionError(f"{text!r} is not reached with {most} steps on {self.path()}")

    def focus(self):
        """What has the focus: its label, else what it says."""
        return self.script("""
            const one = document.activeElement;
            return (one.labels?.[0] ?? one).textContent.trim() || one.getAttribute("aria-label")""")

    def choose(self, selector, text):
        Select(self.one(selector)).select_by_visible_text(text)

    # Devices and networks

    def scheme(self, name):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def phone(self):
        self.cdp("Emulation.setDeviceMetricsOverride", **PHONE)

    def sheet(self, width, height):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def connected(self, is_connected):
        self.cdp("Network.emulateNetworkConditions", offline=not is_connected, latency=0,
                 downloadThroughput=-1, uploadThroughput=-1)

    # Reading

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector):
        """What the elements say, at one moment."""
        return self.script(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent.trim())", selector)

    def text(self, selector):
        found = self.texts(selector)
        assert len(found) == 1, f"{len(found)} elements are {selector} on {self.path()}"
        return found[0]

    def status(self):
        return self.texts(".head .badge")[0]

    def progress(self):
        return self.text(".progress [role=status]")

    def log(self):
        return self.script(LOG)

    def said(self):
        """What the log says by now."""
        return [row["said"] for row in self.log()]

    def nodes(self):
        """The graph: label and status of each node, in the alphabet's order."""
        return sorted(tuple(node) for node in self.script("""
            return [...document.querySelectorAll(".graph .node")].map((node) =>
              [node.querySelector("text").textContent, node.getAttribute("class").replace("node status-", "")])"""))

    def operations(self):
        """The table: resource, what is done with it, and how that stands."""
        return [tuple(row) for row in self.script("""
            return [...document.querySelectorAll("tr[data-op]")].map(({ cells: [first, second] }) =>
              [first.firstChild.textContent, first.querySelector("small").textContent.split(" · ")[1],
               second.querySelector(".badge").textContent])""")]

    def bars(self):
        """The timeline: class by name."""
        return self.script("""
            return Object.fromEntries([...document.querySelectorAll(".timeline a")].map((row) =>
              [row.querySelector("text").textContent, row.querySelector(".bar").getAttribute("class")]))""")

    def fact(self, name):
        return self.script("""
            return [...document.querySelectorAll(".facts > div")]
              .filter((row) => row.querySelector("dt").textContent === arguments[0])
              .map((row) => row.querySelector("dd").textContent)[0]""", name)

    def contrasts(self):
        return self.script(CONTRASTS)

    # Waiting

    def until(self, condition, what, seconds=PATIENCE):
        try:
            return WebDriverWait(self.driver, seconds, poll_frequency=0.1).until(lambda _: condition())
        except TimeoutException:
            self.picture("not-reached")
        raise AssertionError(f"not after {seconds} s: {what}\n{self.path()}: {self.one('main').text[:2000]}")

    def until_status(self, status, seconds=PATIENCE):
        self.until(lambda: self.status() == status, f"the page says {status}", seconds)

    def until_log_ends(self):
        self.until(lambda: self.text("#log-state") == "The log has ended.", "the log ends")

    def settle(self):
        """What comes by script is there, too."""
        if self.all("#log"):
            self.until_log_ends()

    # What came of it

    def picture(self, name, whole=False, folder=PICTURES):
        """A screenshot of what is seen, or of the whole page."""
        folder.mkdir(parents=True, exist_ok=True)
        picture = self.cdp("Page.captureScreenshot", captureBeyondViewport=whole)
        file = folder / f"{name}.png"
        file.write_bytes(base64.b64decode(picture["data"]))
        return file

    def expect_fault(self, text):
        """What the browser may complain of here."""
        self.expected.append(text)

    def faults(self):
        """What the browser complained of: of scripts, of what could not be loaded, of what the policy forbids."""
        said = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        return [text for text in said if not any(expected in text for expected in self.expected)]

    def traffic(self):
        """Every request since the start: URL and kind by id; the bytes that came."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            told = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests[told["requestId"]] = (told["request"]["url"], told.get("type", ""))
            elif message["method"] == "Network.loadingFinished":
                self.sizes[told["requestId"]] = told["encodedDataLength"]
        return self.requests

    def strangers(self):
        """Requests to anybody else."""
        own = (self.origin + "/", "data:", "about:", "chrome:", "devtools:")
        return sorted({url for url, _ in self.traffic().values() if not url.startswith(own)})

    def events(self):
        """How often the log was asked for as events."""
        return sum(kind == "EventSource" for _, kind in self.traffic().values())
