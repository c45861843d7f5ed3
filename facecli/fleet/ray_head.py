"""Watches the head of a Ray cluster: a minute without it, and Ray ends the driver by a line and a code of its own."""

from __future__ import annotations

import os
import socket
import time

from facecli.errors import WorkerError

KEPT = "what is done is kept; the same command goes on"
LOOK_SECONDS = 2.0
ANSWER_SECONDS = 1.0
PATIENCE_SETTING, PATIENCE_SECONDS = "RAY_gcs_rpc_server_reconnect_timeout_s", 60.0
"""Ray's setting of how long its processes go on without a head, and its default."""


class Head:
    """The head of a cluster."""

    def __init__(self, place: str) -> None:
        """`place` is HOST:PORT."""
        self._place = place
        self._looked = self._silent_since = 0.0

    def answers(self) -> bool:
        """Whether it takes a connection."""
        host, _, port = self._place.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
        except OSError:
            return False
        return True

    def ask(self) -> None:
        """Raise WorkerError if it has been silent for so long that Ray would soon end this process."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if self.answers():
            self._silent_since = 0.0
        elif not self._silent_since:
            self._silent_since = now
        elif now - self._silent_since > _patience():
            raise WorkerError("the head of the Ray cluster does not answer any more", self._place, hint=KEPT)


def _patience() -> float:
    """Less than Ray has itself, so that the end is facecli's."""
    try:
        return float(os.environ[PATIENCE_SETTING]) * 0.75
    except (KeyError, ValueError):
        return PATIENCE_SECONDS * 0.75
