"""Owns the MiniStack process: start, stop, and nothing left behind.

MiniStack runs as the leader of a session of its own, and everything that it starts (function processes, terraform,
providers) stays in that session whatever process group it makes, also when its parent has died. So "ours" is the session.

    python -m infra.local.emulator start|stop|status|restart

With CONDUCTOR_PERSIST=1 at its start it keeps its state in .local/state, so that it can be restarted: it stores that only
when it is asked to end. With CONDUCTOR_FUNCTIONS_ENDPOINT functions get that URL for AWS's, and not the emulator's own; a
restart without it leaves it as it was.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from infra.local import LOCAL, REGION, ROOT

RECORD = LOCAL / "ministack.json"
LOG = LOCAL / "ministack.log"
STATE = LOCAL / "state"
TEMPORARY = LOCAL / "tmp"
# In bytes: functions/provisioner/src/scratch.rs.
LONGEST_TEMPORARY = 107 - len("/conductor/work/12345678/providers/999999/plugin4294967295")
# Nowhere else: whoever reaches the emulator is its root, and administrator of an open stack.
HOST = "127.0.0.1"
# What a restart takes over.
SETTINGS = ("CONDUCTOR_AUTH", "CONDUCTOR_FUNCTIONS_ENDPOINT", "CONDUCTOR_PERSIST")


def start():
    """Returns the endpoint's URL; does nothing when it is already up."""
    running = status()
    if running:
        return running["url"]
    stop()
    LOG.unlink(missing_ok=True)
    return launch(choose_port(), settings())


def restart():
    """Ends it and everything in it, and starts it again with the state, the port and the settings that it had."""
    record = status()
    if not record:
        sys.exit("MiniStack is not running")
    had = record.get("settings", {})
    if had.get("CONDUCTOR_PERSIST") != "1":
        sys.exit("MiniStack keeps nothing over a restart: start it with CONDUCTOR_PERSIST=1")
    # Its own process alone, first: it stores its state as the last thing that it does.
    send(signal.SIGTERM, [record["pid"]])
    until(lambda: record["pid"] not in members(record["pid"]), 60, "MiniStack has stored its state")
    end(record)
    return launch(record["port"], had | settings() | {"CONDUCTOR_PERSIST": "1"})


def settings():
    return {name: os.environ[name] for name in SETTINGS if name in os.environ}


def launch(port, settings):
    url = f"http://{HOST}:{port}"
    # The provisioner makes sockets below it, and refuses what is too long for them.
    if (excess := len(os.fsencode(TEMPORARY)) - LONGEST_TEMPORARY) > 0:
        sys.exit(f"{ROOT}: this folder's path is {excess} bytes too long for sockets below it: move it")
    TEMPORARY.mkdir(parents=True, exist_ok=True)
    # Functions inherit this environment, so it holds nothing that AWS would not give them.
    environment = {
        "PATH": f"{ROOT}/.venv/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(TEMPORARY),
        "TMPDIR": str(TEMPORARY),
        "LANG": "C.UTF-8",
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": HOST,
        "MINISTACK_REGION": REGION,
        "AWS_ENDPOINT_URL": settings.get("CONDUCTOR_FUNCTIONS_ENDPOINT") or url,
        "AUTH": settings.get("CONDUCTOR_AUTH", "true"),
        "LAMBDA_EXECUTOR": "local",
    }
    if settings.get("CONDUCTOR_PERSIST") == "1":
        environment |= {
            "PERSIST_STATE": "1", "STATE_DIR": str(STATE / "services"),
            "S3_PERSIST": "1", "S3_DATA_DIR": str(STATE / "s3"),
        }
    with LOG.open("ab") as log:
        process = subprocess.Popen(
            [f"{ROOT}/.venv/bin/ministack"],
            env=environment, cwd=LOCAL, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )
    RECORD.write_text(json.dumps({"pid": process.pid, "port": port, "url": url, "settings": settings}))
    until(lambda: process.poll() is not None or healthy(url), 60, "MiniStack answers")
    if process.poll() is not None:
        sys.exit(f"MiniStack ended with {process.returncode}; see {LOG.relative_to(ROOT)}")
    return url


def stop():
    """Ends it, and removes what it kept."""
    if not RECORD.exists():
        return
    end(json.loads(RECORD.read_text()))
    RECORD.unlink()
    for folder in (TEMPORARY, STATE):
        shutil.rmtree(folder, ignore_errors=True)
    for description in LOCAL.glob("stack*.json"):
        description.unlink()


def end(record):
    """Ends the whole session: politely, then not, and fails if anything of it is left."""
    session = record["pid"]
    for number, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 10)):
        send(number, members(session))
        try:
            until(lambda: not members(session), seconds, "the processes end")
            break
        except TimeoutError:
            continue
    left = members(session)
    if left:
        sys.exit(f"still running after SIGKILL: {left}")


def send(number, pids):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def status():
    """The record of the running MiniStack, or None."""
    if not RECORD.exists():
        return None
    record = json.loads(RECORD.read_text())
    return record if members(record["pid"]) and healthy(record["url"]) else None


def members(session):
    """The living processes of a session, zombies aside."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def choose_port():
    """CONDUCTOR_PORT, else 4566, else whatever is free."""
    wanted = os.environ.get("CONDUCTOR_PORT")
    for port in [int(wanted)] if wanted else [4566, 0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                return probe.getsockname()[1]
            except OSError:
                continue
    sys.exit(f"port {wanted} is in use; set CONDUCTOR_PORT to a free one")


def healthy(url):
    try:
        with urllib.request.urlopen(f"{url}/_ministack/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s until {what}")
        time.sleep(0.05)


if __name__ == "__main__":
    command = sys.argv[1] if len(sys.argv) == 2 else None
    if command == "start":
        print(f"MiniStack: {start()}")
    elif command == "stop":
        stop()
    elif command == "restart":
        print(f"MiniStack: {restart()}")
    elif command == "status":
        sys.exit(0 if status() else 1)
    else:
        sys.exit(__doc__)
