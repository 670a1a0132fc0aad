"""What a template's program might try with what it finds, and what came of it, as JSON in the file that REPORT names.

PLAN: {"endpoint", "region", "requests": [{"name", "profile", "service", "method", "path", "query", "headers", "body"}],
"files": {name: path}, "daemon": bool}. In paths stand {resource}, {own}, {terraform} and {provisioner}.
"""

import configparser
import datetime
import glob
import hashlib
import hmac
import json
import os
import urllib.error
import urllib.request
from urllib.parse import urlsplit


def send(plan, keys, request, path):
    """A request that is signed with the keys of a profile in the run's own credentials file."""
    body = request.get("body", "").encode()
    url = f"{plan['endpoint']}{path}" + (f"?{request['query']}" if request.get("query") else "")
    headers = signed(plan["region"], keys[request["profile"]], request, url, body)
    outgoing = urllib.request.Request(url, data=body or None, headers=headers, method=request["method"])
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(outgoing, timeout=30) as answer:
            return {"status": answer.status, "body": answer.read(500).decode(errors="replace")}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read(500).decode(errors="replace")}


def signed(region, keys, request, url, body):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    parts, digest = urlsplit(url), hashlib.sha256(body).hexdigest()
    headers = {
        **request.get("headers", {}),
        "host": parts.netloc,
        "x-amz-content-sha256": digest,
        "x-amz-date": now,
        "x-amz-security-token": keys["aws_session_token"],
    }
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join([request["method"], parts.path, parts.query, lines, names, digest])
    scope = f"{now[:8]}/{region}/{request['service']}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{keys['aws_secret_access_key']}".encode()
    for part in (now[:8], region, request["service"], "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"{keys['aws_access_key_id']}/{scope}"
    authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": authorization}


def ancestors():
    """This process's parents: id, name, when it began."""
    found, current = [], os.getpid()
    while current > 1:
        with open(f"/proc/{current}/stat") as file:
            before, _, after = file.read().rpartition(") ")
        fields = after.split()
        found.append({"id": current, "name": before.partition("(")[2], "began": int(fields[19])})
        current = int(fields[1])
    return found


def opened(path):
    """Whether it can be opened: for what /proc shows of a process, that is where the kernel decides."""
    try:
        with open(path, "rb"):
            return "opened"
    except OSError as error:
        return type(error).__name__


def daemon():
    """A process that has left terraform's group and session, and shows nothing of whose it is."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, str(os.getpid()).encode())
            null = os.open("/dev/null", os.O_RDWR)
            for descriptor in range(3):
                os.dup2(null, descriptor)
            os.chdir("/")
            os.execve("/bin/sleep", ["sleep", "1000"], {})
        os._exit(0)
    os.close(write)
    os.wait()
    return int(os.read(read, 32))


def main():
    plan, home = json.loads(os.environ["PLAN"]), os.environ["HOME"]
    keys = configparser.ConfigParser(interpolation=None)
    keys.read(f"{home}/credentials")
    parents = ancestors()
    terraform = next(index for index, process in enumerate(parents) if process["name"] == "terraform")
    places = {
        "resource": os.environ["RESOURCE"],
        "own": os.getpid(),
        "terraform": parents[terraform]["id"],
        "provisioner": parents[terraform + 1]["id"],
    }
    report = {
        "home": home,
        "provisioner": parents[terraform + 1],
        "credentials": glob.glob(f"{home}/../*/credentials"),
        "files": {name: opened(path.format(**places)) for name, path in plan.get("files", {}).items()},
        "requests": {
            request["name"]: send(plan, keys, request, request["path"].format(**places))
            for request in plan.get("requests", [])
        },
    }
    if plan.get("daemon"):
        report["daemon"] = daemon()
        report["daemonLives"] = os.path.exists(f"/proc/{report['daemon']}/stat")
    with open(os.environ["REPORT"], "w") as file:
        json.dump(report, file)


main()
