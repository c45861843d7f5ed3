"""A connection to a Ray cluster, or a cluster of our own on this machine; the only module that imports Ray.

Ray Core alone is used: no Ray Client, dashboard or runtime environments, and no reports of use.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from facecli.cache import cache_folder
from facecli.errors import UsageError, WorkerError
from facecli.fleet.ray_guard import Guard, mark_of
from facecli.fleet.ray_head import Head
from facecli.scratch import scratch_folder, sweep
from facecli.system import count_processors

OBJECTS = 100_000_000
"""Bytes of the shared memory of a cluster of our own; only the beginnings of known digests are kept there."""
CONNECT_SECONDS = 10.0
LONGEST_FOLDER = 40
"""The longest name of a folder in which Ray's sockets have room: a socket's whole name has at most 107 bytes."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}
"""Settings of Ray in the environment, unless the user has set them: no reports of use, no lines of its own."""
PROTECT = "all machines of the cluster need RAY_AUTH_MODE=token and the same token: docs/fleet.md"
INSTALL = "pip install 'facecli[ray]'"


class Machine(Struct, frozen=True):
    """A machine of a cluster."""

    name: str
    cpus: int
    gpus: int
    node: str
    """Ray's id of it."""


class Cluster:
    """A connection to a cluster, or a cluster of our own on this machine, while the block runs."""

    def __init__(self, address: str) -> None:
        self._stack = contextlib.ExitStack()
        try:
            self.ray = self._connect(address)
            self.head = Head(self.ray.get_runtime_context().gcs_address)
        except BaseException:
            self._stack.close()
            raise

    def _connect(self, address: str) -> Any:
        _ask_token(address)
        folder = self._stack.enter_context(_folder())
        if is_own(address):
            self._stack.callback(Guard(str(folder)).close)
        self._stack.enter_context(_settings(_token() if is_own(address) else {}))
        self._stack.enter_context(_silent_stdout())
        ray = _import_ray()
        # Ray lets its workers import from the working directory, which may be an untrusted album.
        with contextlib.chdir(folder):
            self._stack.callback(ray.shutdown)
            with _own_signals(), _settings(mark_of(str(folder)) if is_own(address) else {}):
                _init(ray, address, folder)
        return ray

    def machines(self) -> list[Machine]:
        """The machines that are alive."""
        return [
            Machine(
                node["NodeManagerHostname"],
                int(node["Resources"].get("CPU", 0)),
                int(node["Resources"].get("GPU", 0)),
                node["NodeID"],
            )
            for node in self.ray.nodes()
            if node["Alive"]
        ]

    def close(self) -> None:
        """Leave the cluster, or end our own, and remove its files."""
        self._stack.close()


def is_own(address: str) -> bool:
    """Whether a cluster of our own is meant."""
    return address.partition(":")[0] == "local"


def _ask_token(address: str) -> None:
    """Raise UsageError unless a cluster of others is protected: whoever reaches it runs code on all its machines."""
    if not is_own(address) and os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        raise UsageError(
            "a Ray cluster without a token lets whoever reaches it run programs, so it is not used",
            address,
            hint=PROTECT,
        )


def _token() -> dict[str, str]:
    """A token for a cluster of our own: Ray listens on all interfaces, whatever address it is given."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextlib.contextmanager
def _settings(forced: dict[str, str]) -> Iterator[None]:
    """Set Ray's variables within the block; workers on this machine inherit them."""
    chosen = {name: value for name, value in QUIET.items() if name not in os.environ} | forced
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handlers of signals: Ray's own end the process at once, with an exit code of theirs.

    Python's are not replaced within the block; that of SIGTERM in Ray's library, which prints a stack, is afterwards.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    change = signal.signal
    signal.signal = lambda number, _: signal.getsignal(number)  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = change
        for number, handler in handlers.items():
            if handler not in (None, signal.SIG_DFL):
                with contextlib.suppress(ValueError):  # not in the main thread, where only a library's user may be
                    signal.signal(number, handler)


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    """Let nothing be written to stdout within the block: Ray prints there that workers died, whatever it is told."""
    _flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """An empty folder for Ray's files, with a short name, that is removed after the block."""
    cache = cache_folder("ray")
    if cache is not None:
        sweep(cache)
    places = [str(cache or ""), tempfile.gettempdir(), "/tmp"]  # noqa: S108 (scratch_folder makes a private folder)
    place = next((place for place in places if place and len(os.fsencode(place)) <= LONGEST_FOLDER - 14), "/tmp")  # noqa: S108
    with scratch_folder(Path(place)) as folder:
        yield folder


def _import_ray() -> Any:
    try:
        import ray  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise UsageError("--fleet needs Ray, which is not installed", "ray", hint=INSTALL) from error
    return ray


def _init(ray: Any, address: str, folder: Path) -> None:
    """Start or join a cluster; raises WorkerError."""
    quiet = {"logging_level": "ERROR", "log_to_driver": False, "configure_logging": False}
    try:
        if is_own(address):
            # The number of processors is that of the workers: Ray gives each of them at least one.
            cpus = max(count_processors(), int(address.partition(":")[2] or 0))
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=OBJECTS,
                _temp_dir=str(folder),
                _node_ip_address="127.0.0.1",
                **quiet,
            )
        else:
            ray.init(address=_reached(address), **quiet)
    except WorkerError:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = (
            "" if is_own(address) else f"`ray start --address={_place(address)} --num-cpus=0` joins this machine to it"
        )
        raise WorkerError(f"the Ray cluster cannot be used ({said})", address, hint=hint) from error


def _place(address: str) -> str:
    """HOST:PORT of a cluster; raises WorkerError if this machine belongs to none."""
    if address != "auto":
        return address.removeprefix("ray://")
    place = os.environ.get("RAY_ADDRESS", "")
    with contextlib.suppress(OSError):
        place = place or Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster").read_text("utf-8")  # noqa: S108 (where Ray puts it)
    if not place.strip():
        raise WorkerError("this machine belongs to no Ray cluster", address, hint="`ray start --head` starts one")
    return place.strip()


def _reached(address: str) -> str:
    """The address for Ray, once something answers there: Ray itself would wait for many minutes."""
    place = _place(address)
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise WorkerError(f"no Ray cluster answers ({why})", place, hint="`ray start --head` starts one") from error
    return place
