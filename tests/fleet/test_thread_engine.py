"""The engine of threads where no more of them can be had, as under a limit of memory."""

from __future__ import annotations

import threading
from unittest.mock import Mock

import pytest

from facecli.fleet import threads
from facecli.fleet.engine import AT_ONCE
from facecli.fleet.threads import ThreadEngine
from facecli.pipeline.ties import Ties

START = threading.Thread.start


def begin_and_wait(engine: ThreadEngine) -> None:
    engine.begin()
    for _ in range(100):
        engine.wait(0.1)


@pytest.mark.parametrize("allowed", range(AT_ONCE))
def test_a_thread_that_cannot_be_started_ends_the_run_with_its_error(
    allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = list[threading.Thread]()

    def start(thread: threading.Thread) -> None:
        if len(begun) == allowed:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        START(thread)

    monkeypatch.setattr(threads, "ChunkWorker", Mock())
    monkeypatch.setattr(threading.Thread, "start", start)
    engine = ThreadEngine([Mock()], Ties())
    with pytest.raises(RuntimeError, match="can't start new thread"):
        begin_and_wait(engine)
    engine.close()
    assert len(begun) == allowed
    assert not any(thread.is_alive() for thread in begun)
