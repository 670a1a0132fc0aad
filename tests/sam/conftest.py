"""Owns a Docker engine and a base image for `sam local invoke`, and what a function in a container needs to reach the stack.

The engine is ours: its own data, its own socket, ended with the tests. Base images cannot be taken for granted, so a
small Debian stands in for Lambda's; the functions bring everything else in their one file.
"""

import ipaddress
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from infra.local import LOCAL, emulator, stack as stacks

ROOTFS = LOCAL / "sam/rootfs.tar"
IMAGES = ("public.ecr.aws/lambda/provided:al2023", "public.ecr.aws/lambda/provided:al2023-x86_64")
MISSING = [tool for tool in ("dockerd", "docker", "debootstrap") if not shutil.which(tool)]


@pytest.fixture(scope="session")
def stack():
    return stacks.load()


@pytest.fixture(scope="session")
def docker(stack):
    """The environment of a client of our engine, which knows the base image."""
    if MISSING or os.geteuid() != 0:
        pytest.skip(f"no Docker engine: {', '.join(MISSING) + ' not installed' if MISSING else 'only root may start one'}")
    folder = Path(tempfile.mkdtemp(prefix="conductor-docker-"))
    client = {**os.environ, "DOCKER_HOST": f"unix://{folder}/docker.sock"}
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid",
             "--host", client["DOCKER_HOST"]],
            stdout=log, stderr=log, start_new_session=True)
    try:
        emulator.until(lambda: daemon.poll() is not None or answers(client), 60, "the Docker engine answers")
        if daemon.poll() is not None:
            pytest.skip(f"no Docker engine: dockerd ended: {(folder / 'log').read_text()[-500:]}")
        for image in IMAGES:
            subprocess.run(["docker", "import", "--change", "WORKDIR /var/task", rootfs(), image],
                           env=client, check=True, capture_output=True)
        yield client
    finally:
        daemon.terminate()
        daemon.wait(60)
        emulator.until(lambda: not emulator.members(daemon.pid), 30, "the engine's processes end")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def endpoint(docker, stack):
    """The emulator as a container sees it: it listens on 127.0.0.1 only, so the bridge's address is passed on to it."""
    # Not every engine names the gateway; it is the network's first address.
    subnet = subprocess.run(
        ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}"],
        env=docker, check=True, capture_output=True, text=True).stdout.strip()
    gateway = str(ipaddress.ip_network(subnet)[1])
    port = int(stack["awsEndpointUrl"].rsplit(":", 1)[1])
    with socket.create_server((gateway, 0)) as listener:
        threading.Thread(target=forward, args=(listener, port), daemon=True).start()
        yield f"http://{gateway}:{listener.getsockname()[1]}"


def answers(client):
    return subprocess.run(["docker", "info"], env=client, capture_output=True).returncode == 0


def rootfs():
    """Made once."""
    if not ROOTFS.exists():
        ROOTFS.parent.mkdir(parents=True, exist_ok=True)
        half_done = ROOTFS.with_suffix(".part")
        with tempfile.TemporaryDirectory(prefix="conductor-rootfs-") as folder:
            subprocess.run(["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", folder],
                           check=True, capture_output=True)
            subprocess.run(["tar", "-C", folder, "--exclude=./dev/*", "-cf", half_done, "."], check=True)
        half_done.rename(ROOTFS)
    return ROOTFS


def forward(listener, port):
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        far = socket.create_connection(("127.0.0.1", port))
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=copy, args=(source, target), daemon=True).start()


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
