"""A requested stop: at once if no photos are in progress, else when the run checks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from facecli.pipeline.stopping import Stop


def test_an_end_comes_at_once_but_for_a_block_that_finishes() -> None:
    stop = Stop()
    with pytest.raises(KeyboardInterrupt):
        stop.ask(15)
    stop = Stop()
    with stop.finishing():
        stop.ask(15)
        assert stop() == 15
    with pytest.raises(KeyboardInterrupt):
        stop.ask(2)


def test_items_are_over_where_the_end_comes_while_the_next_is_waited_for() -> None:
    stop = Stop()

    def items() -> Iterator[int]:
        yield 1
        yield 2
        stop.ask(2)
        yield 3

    with stop.finishing():
        seen = []
        for item in stop.at_once(items()):
            seen.append(item)
            assert stop.finishes, "what was found is in flight"
        assert stop.finishes
    assert (seen, stop()) == ([1, 2], 2)


def test_an_interruption_that_nobody_asked_for_here_is_handed_on() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    stop = Stop()
    with stop.finishing(), pytest.raises(KeyboardInterrupt):
        list(stop.at_once(items()))


def test_a_plain_function_may_ask_too() -> None:
    assert Stop(lambda: 15)() == 15
    assert Stop()() == 0
