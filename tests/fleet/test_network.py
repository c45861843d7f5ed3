"""A cluster of three machines, each a network namespace of this one, of which one loses its link in the middle."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import Shell
from indexes import command_of, contents, count_photos, is_alive, processes_below, reach, wait_for

pytestmark = pytest.mark.slow
PORT = 6399
HEAD, NAMES = "10.213.77.1", ("head", "one", "two")


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def net() -> Iterator[str]:
    """Three namespaces with addresses on one bridge; gives the beginning of their names."""
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("network namespaces need root and iproute2")
    mark = f"f{secrets.token_hex(2)}"
    with ExitStack() as stack:
        stack.callback(ip, "link", "del", f"{mark}br", check=False)
        ip("link", "add", f"{mark}br", "type", "bridge")
        ip("link", "set", f"{mark}br", "up")
        for number, name in enumerate(NAMES, 1):
            space, outside, inside = f"{mark}{name}", f"{mark}o{number}", f"{mark}i{number}"
            stack.callback(ip, "netns", "del", space, check=False)
            ip("netns", "add", space)
            ip("link", "add", outside, "type", "veth", "peer", "name", inside)
            ip("link", "set", inside, "netns", space)
            ip("link", "set", outside, "master", f"{mark}br", "up")
            ip("-n", space, "addr", "add", f"10.213.77.{number}/24", "dev", inside)
            ip("-n", space, "link", "set", inside, "up")
            ip("-n", space, "link", "set", "lo", "up")
        yield mark


@contextmanager
def started(
    space: str, environment: dict[str, str], *command: str, private: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python in a namespace; it and all below it are ended after the block.

    A machine has a disk of its own: with `private` the namespace sees an empty folder there. Ray names the sockets of
    two nodes in one folder alike, and that which starts a moment later dies of it.
    """
    mounted = ("sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', private) if private else ()
    process = subprocess.Popen(
        ["ip", "netns", "exec", space, *mounted, sys.executable, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        for pid in [*processes_below(process.pid), process.pid]:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def cluster(shell: Shell, net: str) -> Iterator[dict[str, str]]:
    """A head without processors and two machines of one; gives the environment of those who have its token."""
    folder = f"/tmp/fc{secrets.token_hex(4)}"  # a socket's name must be short
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    environment = shell.environment | token
    ray = ("-m", "ray.scripts.scripts", "start", "--object-store-memory=100000000", "--block")
    head = ("--head", f"--port={PORT}", f"--node-ip-address={HEAD}", "--num-cpus=0", f"--temp-dir={folder}")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(started(net + "head", environment, *ray, *head, "--include-dashboard=false"))
        wait_for(lambda: reached(net))
        for number, name in ((2, "one"), (3, "two")):
            joined = (f"--address={HEAD}:{PORT}", f"--node-ip-address=10.213.77.{number}", "--num-cpus=1")
            stack.enter_context(started(net + name, environment, *ray, *joined, private=folder))
        yield environment


def index(shell: Shell, photos: Path) -> tuple[str, ...]:
    """The arguments of Python for a run on the cluster."""
    run = ("index", "-i", f"{shell.work}/fleet", "--fleet", f"ray://{HEAD}:{PORT}", "--workers", "2", "--chunk", "2")
    return ("-P", "-m", "facecli", *run, "--worker-cpus", "1", "--batch-size", "2", str(photos))


def test_a_machine_whose_link_is_cut_costs_time_and_nothing_else(
    shell: Shell, crowd: Path, net: str, cluster: dict[str, str]
) -> None:
    shell("index", "-i", "one", "--processes", "0", crowd)
    with started(net + "head", cluster, *index(shell, crowd)) as process:
        reach(process, lambda: count_photos(shell.work / "fleet") >= 4, 300)
        ip("link", "set", f"{net}o3", "down")
        out, errors = process.communicate(timeout=400)
    assert (process.returncode, out) == (0, b""), errors
    assert contents(shell.work / "fleet") == contents(shell.work / "one")


def test_a_cluster_whose_head_ends_is_one_line_and_what_is_done_is_kept(
    shell: Shell, crowd: Path, net: str, cluster: dict[str, str]
) -> None:
    with started(net + "head", cluster, *index(shell, crowd)) as process:
        reach(process, lambda: count_photos(shell.work / "fleet") >= 4, 300)
        for number in (2, 3):  # or the workers would do what is left
            ip("link", "set", f"{net}o{number}", "down")
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            if "/gcs_server" in command_of(pid) and f"--node-ip-address={HEAD}" in command_of(pid):
                os.kill(pid, signal.SIGKILL)
        out, errors = process.communicate(timeout=400)
    assert (process.returncode, out) == (2, b""), errors
    *_, said, hint = errors.decode().splitlines()
    assert said == f"facecli: error: the head of the Ray cluster does not answer any more: {HEAD}:{PORT}"
    assert hint == "hint: what is done is kept; the same command goes on"
    shell("check", "-i", "fleet")
    assert count_photos(shell.work / "fleet") >= 4


def reached(net: str) -> bool:
    """Whether the head answers in its namespace."""
    code = f"import socket; socket.create_connection(('{HEAD}', {PORT}), 1)"
    command = ["ip", "netns", "exec", net + "head", sys.executable, "-c", code]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
