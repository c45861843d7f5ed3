"""Workers that are actors of Ray: the same index to the bit, whatever happens, and nothing of Ray's on stdout."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import Mock

import pytest
from conftest import Shell, put_album
from indexes import PATIENCE, command_of, contents, count_photos, is_alive, processes_below, reach, wait_for
from PIL import Image

pytest.importorskip("ray", reason="the extra [ray] is not installed")

from ray.exceptions import RayActorError

from facecli.config import FleetOptions
from facecli.errors import WorkerError
from facecli.fleet import ray_engine
from facecli.fleet.process import RemoteWorkerOnRequest, decode_reply
from facecli.fleet.ray_cluster import Machine
from facecli.fleet.ray_engine import Reservation, plan_once_joined, plan_workers, why_lost
from facecli.fleet.ray_guard import Guard, mark_of
from facecli.pipeline.messages import Trouble

FREE_PORTS = ("port", "min-worker-port", "max-worker-port", "dashboard-agent-listen-port")
"""Ports that Ray chooses itself if they are 0; by default they are the same for each cluster on a machine."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, crowd: Path) -> Path:
    """The crowd three times, each photo another one."""
    folder = tmp_path_factory.mktemp("fleet") / "photos"
    folder.mkdir()
    for path in sorted(crowd.iterdir()):
        for turn in range(3):
            with Image.open(path) as picture:
                picture.rotate(turn).save(folder / f"{path.stem}-{turn}.png", compress_level=1)
    return folder


def start(shell: Shell, photos: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "facecli", "index", "-i", "fleet", "--json", *options, str(photos)]
    return subprocess.Popen(
        command, cwd=shell.work, env=shell.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def actors_below(pid: int) -> list[int]:
    return [child for child in processes_below(pid) if command_of(child).startswith("ray::RemoteWorker")]


def test_one_of_two_workers_is_killed_then_the_driver_and_the_index_is_that_of_one_process(
    shell: Shell, photos: Path
) -> None:
    shell("index", "-i", "one", "--processes", "0", photos)
    # An album may bring modules of its own, and Ray lets its workers import from the working directory.
    (shell.work / "cv2.py").write_text("raise SystemExit('a module of the album was run')\n", "utf-8")
    small = ("--fleet", "local:2", "--chunk", "4", "--batch-size", "4")
    first = start(shell, photos, *small)
    reach(first, lambda: count_photos(shell.work / "fleet") >= 8)
    family = processes_below(first.pid)
    first.kill()
    first.communicate()
    wait_for(lambda: not any(map(is_alive, family)))
    done = count_photos(shell.work / "fleet")

    second = start(shell, photos, *small)
    reach(second, lambda: count_photos(shell.work / "fleet") >= done + 8)
    os.kill(actors_below(second.pid)[0], signal.SIGKILL)
    out, errors = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0, errors
    assert b"was lost, and another takes its place" in errors
    report = json.loads(out)  # Ray prints there that a worker died
    assert (report["engine"], report["workers"], report["device"]) == ("ray", 2, "cpu")
    assert report["photos"]["total"] == 72
    assert contents(shell.work / "fleet") == contents(shell.work / "one")
    assert b"of Ray on 1 machine, 2 jobs)" in errors
    shell("check", "-i", "fleet")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_nothing_is_left_behind_and_a_signal_keeps_what_is_done(
    shell: Shell, photos: Path, number: signal.Signals, code: int
) -> None:
    process = start(shell, photos, "--fleet", "local:2", "--batch-size", "4")
    reach(process, lambda: count_photos(shell.work / "fleet"))
    family, folder = processes_below(process.pid), folder_of(process)
    assert folder.is_dir()
    process.send_signal(number)
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, errors
    assert json.loads(out)["photos"]["total"] > 0
    wait_for(lambda: not any(map(is_alive, family)))
    assert not folder.exists()


def folder_of(process: subprocess.Popen[bytes]) -> Path:
    """The folder of Ray's files, which the guard removes."""
    guard = next(pid for pid in processes_below(process.pid) if "facecli.fleet.ray_guard" in command_of(pid))
    return Path(command_of(guard).split()[-1])


def test_nothing_is_left_of_a_driver_that_is_killed_while_its_cluster_starts(shell: Shell, album: Path) -> None:
    process = start(shell, album, "--fleet", "local:1")
    reach(process, lambda: any("runtime_env/agent" in command_of(pid) for pid in processes_below(process.pid)))
    folder = folder_of(process)
    assert folder.is_dir()
    process.kill()
    process.communicate()
    wait_for(lambda: not any(str(folder) in command_of(int(pid)) for pid in os.listdir("/proc") if pid.isdigit()))
    assert not folder.exists()


def test_a_signal_while_the_cluster_starts_ends_the_run_as_any_other(shell: Shell, album: Path) -> None:
    process = start(shell, album, "--fleet", "local:1")
    reach(process, lambda: any("/raylet" in command_of(pid) for pid in processes_below(process.pid)))
    folder = folder_of(process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, errors
    assert b"Traceback" not in errors
    assert errors.strip().splitlines()[-1].startswith(b"facecli: "), errors
    assert not folder.exists()


def test_the_guard_ends_the_processes_of_its_cluster_and_no_others(tmp_path: Path) -> None:
    """A viewer of a log is none of Ray's, nor is what another thread of the program began with the same environment."""
    folder = tmp_path / "ray"
    folder.mkdir()
    sleep, rename = "import time; time.sleep(600)", "exec -a ray::worker sleep 600"
    mark = os.environ | mark_of(str(folder))
    with ExitStack() as stack:

        def begin(environment: dict[str, str], *command: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        guard = Guard(str(folder))
        rays = [
            begin(mark, sys.executable, "-c", sleep, str(folder)),
            begin(mark, "bash", "-c", f"{rename}; : {folder}"),
        ]
        others = [
            begin(dict(os.environ), sys.executable, "-c", sleep, str(folder)),
            begin(mark, sys.executable, "-c", sleep),
            begin(os.environ | mark_of(f"{folder}2"), sys.executable, "-c", sleep, f"{folder}2"),
        ]
        guard.close()
        assert [process.wait(PATIENCE) for process in rays] == [-signal.SIGKILL] * 2
        assert [process.poll() for process in others] == [None] * 3
    assert not folder.exists()


@pytest.fixture
def head(shell: Shell) -> Iterator[tuple[str, dict[str, str]]]:
    """A cluster that needs a token: its address, and the environment of those who have it."""
    folder = Path("/tmp") / f"fc{secrets.token_hex(4)}"  # a socket's name must be short
    place = folder / "ray_current_cluster"
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    environment = shell.environment | token
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    begin = [
        *(*ray, "start", "--head", "--node-ip-address=127.0.0.1", "--num-cpus=2", "--num-gpus=0"),
        *("--include-dashboard=false", f"--temp-dir={folder}", "--object-store-memory=100000000", "--block"),
        *(f"--{which}=0" for which in FREE_PORTS),
    ]
    process = subprocess.Popen(
        begin, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=shell.work
    )
    try:
        reach(process, lambda: place.exists() and place.read_text("utf-8"))
        yield f"ray://{place.read_text('utf-8').strip()}", token
    finally:
        family = processes_below(process.pid)
        process.terminate()
        process.communicate(timeout=PATIENCE)
        for pid in filter(is_alive, family):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_cluster_is_joined_with_its_token_and_not_without(shell: Shell, head: tuple[str, dict[str, str]]) -> None:
    address, token = head
    album = put_album(shell.work / "album")
    refused = shell("index", "--fleet", address, "album", code=2)
    assert "a Ray cluster without a token lets whoever reaches it run programs, so it is not used" in refused.errors
    doctor = shell("doctor", "--fleet", address, "--json", env=token, code=0)
    machine = json.loads(doctor.out)["machines"][0]
    assert (machine["cpus"], machine["device"], machine["trouble"]) == (2, "cpu", "")
    ran = shell("index", "--fleet", address, "--workers", "2", "--worker-cpus", "1", album, env=token)
    assert "2 workers of Ray on 1 machine" in ran.errors
    assert ran.out == b""
    wrong = shell("index", "--fleet", address, album, "--force", env=token | {"RAY_AUTH_TOKEN": "0" * 64}, code=2)
    assert "the Ray cluster cannot be used" in wrong.errors


def test_where_there_is_no_cluster_one_line_says_so(shell: Shell, album: Path) -> None:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "1" * 64, "RAY_TMPDIR": str(shell.work)}
    ran = shell("index", "--fleet", "ray://127.0.0.1:1", album, env=token, code=2)
    assert "no Ray cluster answers (Connection refused): 127.0.0.1:1" in ran.errors
    ran = shell("index", "--fleet", "auto", album, env=token, code=2)
    assert "this machine belongs to no Ray cluster: auto" in ran.errors
    assert not (shell.work / ".facecli").exists(), "a new index that got nothing"
    hidden = {"PYTHONPATH": str(shell.work / "empty")}
    (shell.work / "empty").mkdir()
    (shell.work / "empty/ray.py").write_text("raise ImportError('no ray')\n", "utf-8")
    ran = shell("index", "--fleet", "local", album, env=hidden, code=2)
    assert "--fleet needs Ray, which is not installed" in ran.errors
    assert "pip install 'facecli[ray]'" in ran.errors


@pytest.mark.parametrize(
    ("options", "reservations"),
    [
        (FleetOptions("auto"), [Reservation(8, 1.0), Reservation(8, 1.0), *[Reservation(4)] * 8, Reservation(2)]),
        (FleetOptions("auto", worker_gpus=0.5), [Reservation(4, 0.5)] * 4),
        (FleetOptions("auto", worker_gpus=0.0, worker_cpus=8), [Reservation(8)] * 6),
        (FleetOptions("auto", workers=3), [Reservation(8, 1.0), Reservation(8, 1.0), Reservation(4)]),
    ],
)
def test_workers_get_a_gpu_each_or_a_share_of_the_processors(
    options: FleetOptions, reservations: list[Reservation]
) -> None:
    machines = [Machine("small", 2, 0, "a"), Machine("gpus", 16, 2, "b"), Machine("cores", 32, 0, "c")]
    assert plan_workers(machines, options) == reservations


def test_a_cluster_of_our_own_has_the_named_number_of_workers() -> None:
    machines = [Machine("here", 2, 0, "a")]
    assert plan_workers(machines, FleetOptions("local:2")) == [Reservation(1)] * 2
    assert plan_workers(machines, FleetOptions("local")) == [Reservation(2)]
    with pytest.raises(WorkerError, match="no processors"):
        plan_workers([Machine("head", 0, 0, "a")], FleetOptions("auto"))


@pytest.mark.parametrize(
    ("options", "reservation"),
    [
        (FleetOptions("auto", workers=3), Reservation(1)),
        (FleetOptions("auto", workers=3, worker_cpus=4, worker_gpus=0.5), Reservation(4, 0.5)),
    ],
)
def test_a_cluster_that_grows_on_demand_is_asked_for_a_named_number_of_workers(
    monkeypatch: pytest.MonkeyPatch, options: FleetOptions, reservation: Reservation
) -> None:
    monkeypatch.setattr(ray_engine, "STARTING_SECONDS", 0.0)
    empty = Mock(machines=lambda: [Machine("head", 0, 0, "a")])
    assert plan_once_joined(empty, options) == [reservation] * 3
    with pytest.raises(WorkerError) as caught:
        plan_once_joined(empty, FleetOptions("auto"))
    assert "--workers N asks a cluster that grows on demand" in caught.value.hint


def test_what_a_worker_cannot_open_is_told_with_its_machine() -> None:
    trouble = decode_reply(RemoteWorkerOnRequest(b"nonsense").hello())
    assert isinstance(trouble, Trouble)
    assert trouble.where == f"on {socket.gethostname()}"


def test_a_machine_without_facecli_is_at_fault_and_one_whose_worker_died_is_not() -> None:
    said = "The actor died because of an error, ray::X.__init__() (pid=9, ip=10.0.0.3, repr=x)\n  File\nKeyError: 'a'\n"
    failed = why_lost(RayActorError("1", said, actor_init_failed=True))
    assert str(failed) == "a worker cannot begin (KeyError: 'a'): 10.0.0.3"
    lost = why_lost(RayActorError("1", "The actor died: killed\nmore"))
    assert (type(lost), str(lost)) == (RuntimeError, "The actor died: killed")
