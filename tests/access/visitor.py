"""Owns a browser's way through the code flow, a step at a time, so that each step can be another one."""

from collections import namedtuple
from urllib.parse import parse_qs, parse_qsl, urlencode, urljoin, urlsplit

import requests

from client import Client

HTML = {"accept": "text/html"}
SAME_ORIGIN = {"sec-fetch-site": "same-origin"}

Cookie = namedtuple("Cookie", "name value attributes")


def set_by(answer):
    """The cookies that an answer sets, by name; the attributes' names in small letters."""
    found = {}
    for line in answer.raw.headers.getlist("set-cookie"):
        first, *rest = (part.strip() for part in line.split(";"))
        name, _, value = first.partition("=")
        attributes = {key.lower(): text for key, _, text in (part.partition("=") for part in rest)}
        found[name] = Cookie(name, value, attributes)
    return found


def with_query(url, **changes):
    """The same address with other parameters; None leaves one out."""
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **changes}
    return parts._replace(query=urlencode({name: text for name, text in query.items() if text is not None})).geturl()


def query_of(url):
    return {name: texts[0] for name, texts in parse_qs(urlsplit(url).query).items()}


class Visitor:
    """Keeps its cookies itself, whatever they say of themselves; `host` is what it has in its address bar."""

    def __init__(self, url, host=None):
        self.client = Client(url, headers={**HTML, **({"host": host} if host else {})})
        self.cookies = {}

    def ask(self, method, path, body=None, headers=None):
        shown = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {**(headers or {}), **({"cookie": shown} if shown else {})}
        answer = self.client.ask(method, path, body, headers)
        for cookie in set_by(answer).values():
            if cookie.value and cookie.attributes.get("max-age") != "0":
                self.cookies[cookie.name] = cookie.value
            else:
                self.cookies.pop(cookie.name, None)
        return answer

    def principal(self):
        return self.ask("GET", "/v1/principal", headers={"accept": "application/json"})

    def act(self, path, **headers):
        """Sends a form of the dashboard."""
        return self.ask("POST", path, b"", {"content-type": "application/x-www-form-urlencoded", **headers})

    def begin(self):
        """Where it is sent to sign in."""
        answer = self.ask("GET", "/login")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def sign_in_at(self, address, name):
        """Goes to the provider as somebody; where that sends it back to."""
        with requests.Session() as session:
            session.trust_env = False
            form = session.get(address, timeout=10)
            sent = session.post(form.url, data={"name": name}, allow_redirects=False, timeout=10)
            back = session.get(urljoin(form.url, sent.headers["location"]), allow_redirects=False, timeout=10)
            return back.headers["location"]

    def come_back(self, address):
        return self.ask("GET", "/login/callback?" + urlsplit(address).query)

    def sign_in(self, name):
        return self.come_back(self.sign_in_at(self.begin(), name))
