"""Devices by name: which are accepted, which are rejected, and with which hint."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facecli.errors import DeviceError, DeviceFull
from facecli.installation import Conflict
from facecli.onnx_loading import captured_noise, load_onnxruntime
from facecli.vision.devices import benchmark, select
from facecli.vision.devices.benchmark import TrialOutcome, choose_device, run_trial
from facecli.vision.devices.select import HardwareMissing, find_devices
from facecli.vision.packs.resolve import find_pack
from facecli.vision.runtime import cuda, providers, session
from facecli.vision.runtime.cuda import CudaDriver, read_driver
from facecli.vision.runtime.providers import CPU, TINY_MODEL, Device, installed_plug_ins, open_inference
from facecli.vision.runtime.session import failure

CUDA = "CUDAExecutionProvider"


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> Callable[[CudaDriver], None]:
    """An ONNX Runtime with the CUDA provider and a given driver."""

    def pretend(driver: CudaDriver) -> None:
        monkeypatch.setattr(select, "built_in_providers", lambda: [CUDA, CPU])
        monkeypatch.setattr(select, "read_driver", lambda: driver)
        monkeypatch.setattr(select, "preload_cuda", lambda: "")

    return pretend


def test_the_cpu_is_one_device_or_as_many_as_are_named() -> None:
    assert find_devices("cpu") == (Device("cpu", CPU),)
    assert find_devices("CPU:0,1,1") == (Device("cpu:0", CPU), Device("cpu:1", CPU))
    assert [(d.kind, d.number) for d in find_devices("cpu:0,3")] == [("cpu", 0), ("cpu", 3)]


@pytest.mark.parametrize("named", ["", ":", "cpu:", "cpu:x", "cuda:-1", "auto:0", "cuda:0,"])
def test_a_name_that_is_none_is_refused(named: str) -> None:
    with pytest.raises(DeviceError, match="looks like") as caught:
        find_devices(named)
    assert caught.value.where == named


def test_an_unknown_device_is_answered_with_those_that_are_here() -> None:
    with pytest.raises(DeviceError, match="no such device: nonsense") as caught:
        find_devices("nonsense")
    assert "here: auto, cpu" in caught.value.hint


def test_auto_is_the_cpu_where_nothing_else_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "built_in_providers", lambda: [CPU, "AzureExecutionProvider"])
    monkeypatch.setattr(select, "installed_plug_ins", dict)
    monkeypatch.setattr(select, "choose_device", None)
    assert find_devices("auto") == (Device("cpu", CPU),)


def test_a_provider_that_is_not_installed_is_named_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(select, "built_in_providers", lambda: [CPU])
    monkeypatch.setattr(select, "runtime_conflict", lambda: None)
    with pytest.raises(DeviceError, match=f"device cuda cannot be used: this ONNX Runtime has no {CUDA}") as caught:
        find_devices("cuda")
    assert caught.value.hint == f"{sys.executable} -P -m pip install 'onnxruntime-gpu[cuda,cudnn]'"


def test_a_runtime_that_another_lies_over_is_named_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "built_in_providers", lambda: [CPU])
    monkeypatch.setattr(
        select, "runtime_conflict", lambda: Conflict("two runtimes", (("pip", "install", "one of them"),))
    )
    monkeypatch.setattr(select, "installed", lambda _: {"onnxruntime-gpu": "1.31.0"})
    with pytest.raises(DeviceError, match="two runtimes") as caught:
        find_devices("cuda")
    assert caught.value.hint == "pip install 'one of them'"


def test_cuda_is_every_gpu_that_the_driver_offers(
    with_cuda: Callable[[CudaDriver], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cuda(CudaDriver(gpus=3, version=13000))
    proved: list[Device] = []
    monkeypatch.setattr(select, "open_inference", lambda _, found: proved.append(found))
    found = find_devices("cuda")
    assert [d.name for d in found] == ["cuda:0", "cuda:1", "cuda:2"]
    assert list(found) == proved, "each is opened before it is promised"
    assert dict(found[2].options) == dict(select.EXACT_CUDA) | {"device_id": "2"}
    assert dict(found[2].options)["use_tf32"] == "0"
    assert [d.name for d in find_devices("cuda:2,0")] == ["cuda:2", "cuda:0"]
    with pytest.raises(DeviceError, match="no such device: cuda:3") as caught:
        find_devices("cuda:0,3")
    assert "there are 3" in caught.value.hint


def test_tensorrt_keeps_what_it_has_compiled_where_only_the_user_reads_it(
    with_cuda: Callable[[CudaDriver], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_cuda(CudaDriver(gpus=1, version=13000))
    monkeypatch.setattr(select, "built_in_providers", lambda: ["TensorrtExecutionProvider", CUDA, CPU])
    monkeypatch.setattr(select, "open_inference", lambda *_: None)
    options = dict(find_devices("tensorrt:0")[0].options)
    path = tmp_path / "cache" / "facecli" / "tensorrt"
    assert (options["trt_engine_cache_enable"], options["trt_engine_cache_path"], options["trt_timing_cache_path"]) == (
        "1",
        str(path),
        str(path),
    )
    assert path.stat().st_mode & 0o777 == 0o700


def test_cuda_without_a_driver_is_never_the_cpu(with_cuda: Callable[[CudaDriver], None]) -> None:
    with_cuda(CudaDriver(trouble="NVIDIA's driver is not installed"))
    with pytest.raises(HardwareMissing, match="driver is not installed") as caught:
        find_devices("cuda:0")
    assert "install NVIDIA's driver" in caught.value.hint


def test_a_driver_that_is_too_old_is_said(
    with_cuda: Callable[[CudaDriver], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cuda(CudaDriver(gpus=1, version=12040))
    monkeypatch.setattr(load_onnxruntime(), "cuda_version", "13.0", raising=False)
    with pytest.raises(DeviceError, match=r"device cuda:0 cannot be used: [ -~]+$") as caught:
        find_devices("cuda")
    assert (
        caught.value.hint
        == "the driver serves CUDA up to 12 and this onnxruntime-gpu needs 13.0: update NVIDIA's driver"
    )


def test_a_cuda_library_that_is_missing_is_said(
    with_cuda: Callable[[CudaDriver], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cuda(CudaDriver(gpus=1, version=13000))
    monkeypatch.setattr(load_onnxruntime(), "cuda_version", "13.0", raising=False)
    monkeypatch.setattr(select, "preload_cuda", lambda: "Failed to load libcublas.so.13")
    with pytest.raises(DeviceError, match=r"Failed to load libcublas\.so\.13") as caught:
        find_devices("cuda")
    assert "'onnxruntime-gpu[cuda,cudnn]'" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (
            "while running Conv node. bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 9",
            DeviceFull,
        ),
        ("CUDA failure 2: out of memory ; GPU=0 ; hostname=here ; expr=cudaMalloc", DeviceFull),
        ("CUDNN failure 5003: CUDNN_STATUS_ALLOC_FAILED", DeviceFull),
        ("CUBLAS_STATUS_ALLOC_FAILED", DeviceFull),
        ("[CL_EXT] CL_OUT_OF_MEMORY", DeviceFull),
        ("CUDA failure 719: unspecified launch failure", DeviceError),
        ("Got invalid dimensions for input", DeviceError),
    ],
)
def test_a_device_without_memory_is_told_from_one_that_fails(said: str, kind: type[DeviceError]) -> None:
    error = failure(RuntimeError(said), CUDA)
    assert type(error) is kind
    assert error.hint == said


def test_a_session_that_fell_back_is_an_error_and_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeviceError, match="device cuda:0 cannot be used"):
        open_inference(TINY_MODEL, Device("cuda:0", CUDA, (("device_id", "0"),)))
    assert open_inference(TINY_MODEL, Device("cpu", CPU)).run(None, {"x": np.float32([-1.0])})[0][0] == 0.0
    assert capfd.readouterr() == ("", "")


class FakeDriver:
    """A fake libcuda with given answers."""

    def __init__(self, version: int, result: int, gpus: int) -> None:
        self.cuInit = lambda _flags: result
        self.cuDriverGetVersion = lambda pointer: self._give(pointer, version)
        self.cuDeviceGetCount = lambda pointer: self._give(pointer, gpus)

    @staticmethod
    def _give(pointer: object, value: int) -> int:
        pointer._obj.value = value
        return 0


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (FakeDriver(13000, 0, 2), CudaDriver(2, 13000, "")),
        (FakeDriver(13000, 100, 0), CudaDriver(0, 13000, cuda.TROUBLES[100])),
        (FakeDriver(12040, 999, 0), CudaDriver(0, 12040, cuda.TROUBLES[999])),
        (FakeDriver(12040, 46, 0), CudaDriver(0, 12040, "NVIDIA's driver answers with error 46")),
        (FakeDriver(13000, 0, 0), CudaDriver(0, 13000, cuda.TROUBLES[100])),
        (None, CudaDriver(trouble="NVIDIA's driver is not installed")),
    ],
)
def test_the_driver_tells_its_troubles_apart(
    answers: FakeDriver | None, expected: CudaDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_name: str) -> FakeDriver:
        if answers is None:
            raise OSError
        return answers

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert read_driver() == expected


def put_plug_in(place: Path, body: str) -> None:
    """Install a plug-in of an unknown vendor."""
    info = place / "onnxruntime_ep_mine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-ep-mine\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("plugged_mine\n")
    (place / "plugged_mine.py").write_text(body)


@pytest.fixture
def plug_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "plugged_mine", raising=False)
    return tmp_path / "site"


def test_a_plug_in_is_a_device_by_its_packages_name(plug_in_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_plug_in(
        plug_in_place, "def get_ep_name(): return 'MineExecutionProvider'\ndef get_library_path(): return '/mine.so'\n"
    )
    assert installed_plug_ins()["mine"] == "onnxruntime-ep-mine"

    def hardware(kind: str, number: int) -> types.SimpleNamespace:
        return types.SimpleNamespace(
            ep_name="MineExecutionProvider",
            device=types.SimpleNamespace(type=types.SimpleNamespace(name=kind)),
            number=number,
        )

    there = [hardware("CPU", 0), hardware("GPU", 1)]
    registered: list[tuple[str, str]] = []
    runtime = types.SimpleNamespace(
        get_ep_devices=lambda: there if registered else [],
        register_execution_provider_library=lambda name, path: registered.append((name, path)),
        get_available_providers=lambda: [CPU],
    )
    monkeypatch.setattr(providers, "load_onnxruntime", lambda: runtime)
    monkeypatch.setattr(select, "open_inference", lambda *_: None)
    assert find_devices("mine") == (Device("mine", "MineExecutionProvider"),)
    assert registered == [("onnxruntime-ep-mine", "/mine.so")]
    assert [d.number for d in providers.plugged_devices("MineExecutionProvider")] == [1, 0], "the GPU comes first"
    assert [d.name for d in find_devices("mine:1")] == ["mine:1"]
    with pytest.raises(DeviceError, match="mine:2"):
        find_devices("mine:2")
    there.clear()
    with pytest.raises(HardwareMissing, match="no hardware"):
        find_devices("mine")


def test_openvino_takes_processors_that_its_plug_in_does_not(
    plug_in_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on AMD processors: OpenVINO runs only the recogniser there, so `auto` does not count it as a device."""
    put_plug_in(
        plug_in_place,
        "def get_ep_name(): return 'OpenVINOExecutionProvider'\ndef get_library_path(): return '/mine.so'\n",
    )
    (plug_in_place / "onnxruntime_ep_mine-1.0.dist-info").rename(
        plug_in_place / "onnxruntime_ep_openvino-1.0.dist-info"
    )
    registered: list[str] = []

    def register(name: str, _: str) -> None:
        if name in registered:
            raise RuntimeError(f"EP library is already registered under {name}")
        registered.append(name)

    runtime = types.SimpleNamespace(
        get_ep_devices=list, register_execution_provider_library=register, get_available_providers=lambda: [CPU]
    )
    monkeypatch.setattr(providers, "load_onnxruntime", lambda: runtime)
    monkeypatch.setattr(select, "open_inference", lambda *_: None)
    monkeypatch.setattr(select, "choose_device", lambda candidates: candidates)
    monkeypatch.setattr(select.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(HardwareMissing, match="no hardware"):
        find_devices("openvino")
    monkeypatch.setattr(select.importlib.util, "find_spec", lambda _: object())
    assert find_devices("openvino") == (Device("openvino", CPU),)
    with pytest.raises(DeviceError, match="openvino:1"):
        find_devices("openvino:1")
    offered: list[Device] = []
    monkeypatch.setattr(select, "choose_device", lambda candidates: offered.extend(candidates) or Device("cpu", CPU))
    assert find_devices("auto") == (Device("cpu", CPU),)
    assert offered == []


def test_a_plug_in_that_cannot_be_loaded_is_named_with_what_mends_it(plug_in_place: Path) -> None:
    put_plug_in(
        plug_in_place,
        "def get_ep_name(): return 'MineExecutionProvider'\ndef get_library_path(): return '/not/there.so'\n",
    )
    with pytest.raises(DeviceError, match="a provider cannot be loaded") as caught:
        find_devices("mine")
    assert caught.value.where == "onnxruntime-ep-mine"
    assert "onnxruntime-ep-mine" in caught.value.hint


def outcome(name: str, seconds: float, *, off: float = 0.0) -> TrialOutcome:
    vector = np.float32([1.0, off])
    return TrialOutcome(Device(name, f"{name}Provider" if name != "cpu" else CPU), vector, vector, seconds)


def test_auto_takes_the_fastest_that_agrees_and_remembers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {
        o.device.name: o
        for o in (outcome("cpu", 1.0), outcome("slow", 2.0), outcome("wrong", 0.1, off=0.5), outcome("fast", 0.5))
    }
    tried: list[str] = []

    def run(_pack: object, found: Device) -> TrialOutcome:
        tried.append(found.name)
        if found.name == "broken":
            raise DeviceError("broken")
        return runs[found.name]

    monkeypatch.setattr(benchmark, "run_trial", run)
    candidates = [Device(name, f"{name}Provider") for name in ("slow", "wrong", "broken", "fast")]
    assert choose_device(candidates).name == "fast"
    assert tried == ["cpu", "slow", "wrong", "broken", "fast"]
    assert choose_device(candidates).name == "fast"
    assert len(tried) == 5, "the answer was kept"
    assert choose_device(candidates[:1]).name == "cpu", "another choice is another question"


def test_auto_asks_again_where_a_device_lacked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the fastest as soon as another program has given the memory back."""
    full = [
        DeviceFull("the device out of memory"),
        DeviceError("device fast cannot be used", "CUDA failure 2: out of memory"),
    ]

    def run(_pack: object, found: Device) -> TrialOutcome:
        if found.name == "fast" and full:
            raise full.pop()
        return outcome(found.name, 0.5 if found.name == "fast" else 1.0)

    monkeypatch.setattr(benchmark, "run_trial", run)
    assert [choose_device([Device("fast", "X")]).name for _ in range(3)] == ["cpu", "cpu", "fast"]


def test_what_a_trial_meets_is_an_error_of_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(*_: object, **__: object) -> None:
        raise RuntimeError(
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: std::bad_alloc"
        )

    monkeypatch.setattr(benchmark, "open_inference", lack)
    with pytest.raises(DeviceFull, match="out of memory"):
        run_trial(find_pack(None), Device("cpu", CPU))
    monkeypatch.setattr(session, "open_inference", lack)
    with pytest.raises(DeviceFull, match="out of memory"):
        session.open_session("sound.onnx", Device("cpu", CPU))


def test_auto_gives_all_devices_of_the_kind_that_won(
    with_cuda: Callable[[CudaDriver], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cuda(CudaDriver(gpus=2, version=13000))
    monkeypatch.setattr(select, "installed_plug_ins", dict)
    monkeypatch.setattr(select, "choose_device", lambda candidates: candidates[0])
    assert [d.name for d in find_devices("auto")] == ["cuda:0", "cuda:1"]
    with_cuda(CudaDriver(trouble="none"))
    monkeypatch.setattr(select, "choose_device", lambda candidates: Device("cpu", CPU) if not candidates else None)
    assert find_devices("auto") == (Device("cpu", CPU),)


def test_a_trial_runs_both_models() -> None:
    pack = find_pack(None)
    one, other = (run_trial(pack, found) for found in find_devices("cpu:0,1"))
    assert one.embedding.shape == (pack.dimension,)
    assert min(one.agreement(other)) > 0.99999
    assert min(one.agreement(TrialOutcome(other.device, other.detection, -other.embedding, 1.0))) < -0.99999


def test_onnx_runtime_starts_without_telemetry_and_without_noise(tmp_path: Path) -> None:
    code = (
        "import os; from facecli.onnx_loading import load_onnxruntime as load; load(); "
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ORT_")} | {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_noise_is_kept_from_the_terminal_and_can_be_read(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_noise() as noise:
        os.write(2, b"said by a library\n")
        assert noise.text() == "said by a library\n"
    os.write(2, b"said afterwards\n")
    assert noise.text() == "said by a library\n"
    assert capfd.readouterr().err == "said afterwards\n"


def test_a_missing_runtime_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(DeviceError, match="a library is missing: onnxruntime") as caught:
        load_onnxruntime()
    assert caught.value.hint == "pip install onnxruntime"
