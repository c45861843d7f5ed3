"""A short run of the fuzzer, and tests that it detects failures."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import corpus
from fuzz_decode import judge, make_input
from mutation import mutate, with_checksums

from facecli.config import ReadOptions
from facecli.photos.decode import PhotoReader

SCRIPT = Path(__file__).with_name("fuzz_decode.py")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False, timeout=300
    )


def test_damaged_files_of_every_format() -> None:
    done = run("--inputs", "1400", "--seed", "23")
    assert done.returncode == 0, done.stdout + done.stderr
    words = {line.split()[1] for line in done.stdout.splitlines()}
    assert {"photo", "truncated", "unreadable"} <= words, done.stdout
    assert "isolated" not in done.stdout


def test_sound_files_are_photos() -> None:
    reader = PhotoReader(ReadOptions())
    for name, data in corpus().items():
        assert judge(reader, data) == "photo", name
    reader.close()


def test_a_crash_is_noticed_with_its_input(tmp_path: Path) -> None:
    broken = tmp_path / "fuzz_broken.py"
    text = (
        SCRIPT.read_text()
        .replace('        return "photo"', "        os.kill(os.getpid(), 11)")
        .replace("__file__).resolve().parent", f"{str(SCRIPT)!r}).parent")
    )
    broken.write_text(text)
    done = subprocess.run(
        [sys.executable, str(broken), "--inputs", "50"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1
    assert "FAILED with code -11 at input" in done.stdout


def test_inputs_can_be_made_again() -> None:
    files = sorted(corpus().items())
    assert make_input(files, 5, 77) == make_input(files, 5, 77)
    assert len({make_input(files, 5, number)[1] for number in range(200)}) > 190


@pytest.mark.parametrize("name", ["plain.png", "alpha.png"])
def test_checksums_are_mended(name: str) -> None:
    data = corpus()[name]
    assert with_checksums(data) == data
    assert with_checksums(data[:29] + b"\0\0\0\0" + data[33:]) == data


def test_any_file_can_be_damaged() -> None:
    dice = random.Random(1)
    for data in (b"", b"a", b"ab"):
        for _ in range(200):
            mutate(data, b"other", dice)
