"""The GPU benchmark works on the CPU, so it will work on a machine with a GPU."""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gpu as benchmark
import pytest
from gpu_machine import Nvml, watched
from gpu_runs import Runs

SCRIPT = Path(benchmark.__file__)


def lines(text: str) -> dict[str, dict[str, Any]]:
    return {record["step"]: record for record in map(json.loads, text.splitlines())}


@pytest.mark.slow
def test_smoke() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--device", "cpu", "--smoke", "--seconds", "1000"],
        check=False,
        capture_output=True,
        text=True,
        timeout=1000,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = lines(done.stdout)
    assert [name.split()[0] for name in steps] == [
        *("machine", "photos", "parity", "start", "rates", "rates", "batches", "sweep", "sweep", "memory", "half"),
        "faiss",
    ]
    assert steps["machine"]["devices"][0]["pixels"] is True
    assert (steps["parity"]["holds"], steps["parity"]["missed"], steps["parity"]["extra"]) == (True, 0, 0)
    assert steps["parity"]["faces"] > 0
    for kind in ("small", "large"):
        rates = steps[f"rates {kind}"]
        assert rates["ratio"] > 0
        assert rates["decode_only_photos_per_second"] > 0
        assert rates["networks_busy"] > 0
    assert steps["batches"]["milliseconds"].keys() == {"detect", "small pass", "embed"}
    assert [(cap["rows"], cap["rows_of_a_batch"]) for cap in steps["memory"]["caps"]] == [(4, 2), (4, 4), (4, 4)]
    assert "computes in half precision" in steps["half"]["half"]["said"][0]
    assert steps["faiss"]["face_queries"] == 500
    assert [(found["queries"], found["same"]) for found in steps["faiss"]["at_once"]] == [(64, True), (256, True)]
    assert all(found["shards"] >= 2 for found in steps["faiss"]["at_once"])


def test_what_fails_and_what_has_no_time_is_a_line_and_the_next_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs(tmp_path)
    steps = benchmark.Steps(runs, 1000)
    steps.do("broken", lambda: runs.script("gpu_choices.py", "no-such-device"))
    steps.do("hangs", lambda: runs.script("gpu_search.py", "make", str(tmp_path / "index"), "10000000"), longest=0.001)
    steps.do("works", lambda: {"holds": True})
    late = benchmark.Steps(runs, 0)
    late.do("late", lambda: {"never": "run"})
    told = lines(capsys.readouterr().out)
    assert "there is no such device" in told["broken"]["error"]
    assert "TimeoutExpired" in told["hangs"]["error"]
    assert "error" not in told["works"]
    assert told["late"]["error"] == "TimeoutError: no time is left"
    assert (steps.failed, late.failed) == (True, True)


def test_the_device_and_the_seconds_have_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    expected = argparse.Namespace(device="cuda", seconds=240, index=None, smoke=False)
    assert benchmark.read_options() == expected


class MadeUpNvml:
    """Two GPUs, of which the second tells nothing of its load."""

    def nvmlInit_v2(self) -> int:  # noqa: N802 (the library's name)
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802 (as above)
        count._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, number: int, gpu: Any) -> int:  # noqa: N802 (as above)
        gpu._obj.value = 70 + number
        return 0

    def nvmlDeviceGetUtilizationRates(self, gpu: ctypes.c_void_p, load: Any) -> int:  # noqa: N802 (as above)
        load._obj[:] = [63, 5]
        return 0 if gpu.value == 70 else 3

    def nvmlDeviceGetMemoryInfo(self, gpu: ctypes.c_void_p, memory: Any) -> int:  # noqa: N802 (as above)
        memory._obj[:] = [80 << 30, 79 << 30, 1 << 30]
        return 0


def test_the_load_of_the_gpus_is_what_their_driver_tells() -> None:
    with watched(Nvml(MadeUpNvml())) as watch:
        while not watch.memory_mb:
            time.sleep(0.01)
    seen = watch.record()
    assert (seen["gpu_busy_percent"], seen["gpu_peak_memory_mb"]) == (63, 1024)
    assert seen["samples"] >= 1


def test_without_a_driver_nothing_is_said_of_the_load() -> None:
    with watched(None) as watch:
        pass
    assert watch.record() == {}
