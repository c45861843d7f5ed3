"""The commands on a GPU, each in a process of its own: doctor, index, search, faces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpus")]


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_doctor_finds_that_the_gpu_gives_the_processors_results(shell: Shell, real_name: str) -> None:
    report = json.loads(shell("doctor", "--json", code=None).out)
    [device, *_] = [found for found in report["devices"] if found["name"].startswith(real_name)]
    assert device["works"], report["problems"]
    assert min(device["detector_cosine"], device["recogniser_cosine"]) >= 0.999
    assert device["photos_per_second"] > 0


@pytest.mark.usefixtures("album")
def test_an_index_is_made_and_searched_on_the_gpu(
    shell: Shell, real_name: str, find_sample: Callable[[str], Path]
) -> None:
    report = json.loads(shell("index", "--json", "-d", real_name, "album").out)
    assert report["device"].startswith(real_name)
    assert (report["photos"]["new"], report["faces"]["added"], report["skipped"]) == (4, 34, [])
    query = find_sample("yaoming.jpg")
    [first, *_] = lines(shell("search", "--json", "-t", "none", "-d", real_name, query).text)
    assert first["path"] == "album/sport/players.jpg"
    assert first["similarity"] == pytest.approx(0.633, abs=0.005)
    [again, *_] = lines(shell("search", "--json", "-t", "none", "-d", "cpu", query).text)
    assert again["face"] == first["face"]
    assert again["similarity"] == pytest.approx(first["similarity"], abs=0.001)


def test_faces_are_found_on_the_gpu(shell: Shell, real_name: str, find_sample: Callable[[str], Path]) -> None:
    photo = find_sample("t1.jpg")
    found, expected = (lines(shell("faces", "--json", "-d", name, photo).text) for name in (real_name, "cpu"))
    assert len(found) == len(expected) == 6
    for mine, theirs in zip(found, expected, strict=True):
        assert mine["box"] == pytest.approx(theirs["box"], abs=1)
