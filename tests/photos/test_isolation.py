"""A decoder that crashes, hangs or uses up memory does no damage, and the helper process leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from picture_files import saved, scene, with_exif, with_segments

from facecli.config import ReadOptions
from facecli.photos import isolation
from facecli.photos.budget import PixelBudget
from facecli.photos.decode import PhotoReader, refusal_holds
from facecli.photos.frames import FrameBuffer, ReusedSpace
from facecli.types import FileContents, Photo, PhotoFile, Skipped, SkipReason

GIF = saved(scene().quantize(64), "GIF")
JPEG = saved(scene(), "JPEG")


def contents(data: bytes) -> FileContents:
    return FileContents(PhotoFile("/photo", len(data), 0), b"", data)


@pytest.fixture
def fresh() -> Iterator[PhotoReader]:
    """A reader whose helper process has not started yet."""
    reader = PhotoReader(ReadOptions())
    yield reader
    reader.close()


def helpers() -> set[psutil.Process]:
    return {p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE}


def sabotage(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the helper run `code`, with its module as `h`, before it serves requests."""
    start = isolation._START.removesuffix("main()") + f"import os, time, facecli.photos.helper as h\n{code}\nmain()"
    monkeypatch.setattr(isolation, "_START", start.replace("; ", "\n"))


def test_the_helper_starts_only_when_needed_and_ends_with_its_reader(fresh: PhotoReader) -> None:
    before = helpers()
    assert isinstance(fresh.decode(contents(JPEG)), Photo)
    assert helpers() <= before
    for _ in range(2):
        assert isinstance(fresh.decode(contents(GIF)), Photo)
        assert len(helpers() - before) == 1, "those of earlier tests may end meanwhile"
    fresh.close()
    assert helpers() <= before
    assert isinstance(fresh.decode(contents(GIF)), Photo)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_isolated_equals_direct(fresh: PhotoReader, kind: str, orientation: int) -> None:
    data = with_exif(JPEG, orientation) if kind == "JPEG" else saved(scene(), kind)
    direct = fresh.decode(contents(data))
    assert isinstance(direct, Photo)
    expected = np.array(direct.pixels)
    isolated = fresh.decode(contents(data), isolated=True)
    assert isinstance(isolated, Photo)
    np.testing.assert_array_equal(isolated.pixels, expected)


def test_photos_of_changing_size_come_whole_out_of_one_helper(
    fresh: PhotoReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "_KEEP", 100_000)
    for width, height in ((300, 200), (10, 10), (400, 300), (1, 1), (20, 30)):
        photo = fresh.decode(contents(saved(scene(width, height), "BMP")))
        assert isinstance(photo, Photo)
        np.testing.assert_array_equal(photo.pixels, np.asarray(scene(width, height)))


@pytest.mark.parametrize("step", ["open_picture = lambda *a, **k: {}", "_Server.read = lambda *a: {}"])
@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("os.kill(os.getpid(), 11)", "its decoder crashed (signal 11)"),
        ("os._exit(7)", "its decoder ended with code 7"),
        ("time.sleep(60)", "its decoder took more than 1 s"),
        ("os.kill(os.getpid(), 19)", "its decoder took more than 1 s"),
    ],
)
def test_crash_and_hang_are_values(fresh: PhotoReader, step: str, deed: str, said: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        sabotage(patch, "h." + step.format(deed))
        if "took" in said:
            patch.setattr(isolation, "HEADER_SECONDS" if "open" in step else "PIXEL_SECONDS", 1.0)
        outcome = fresh.decode(contents(GIF))
    assert isinstance(outcome, Skipped)
    assert (outcome.reason, outcome.detail) == (SkipReason.UNREADABLE, said)
    assert refusal_holds(outcome.refused_by, ReadOptions())
    assert isinstance(fresh.decode(contents(GIF)), Photo)


def test_signals_to_the_group_do_not_harm_a_photo(fresh: PhotoReader, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(
        monkeypatch,
        "tame = h._tame; h._tame = lambda form: [os.kill(os.getpid(), n) for n in (1, 2, 15)] + [tame(form)]",
    )
    assert isinstance(fresh.decode(contents(GIF)), Photo)


def test_a_kill_from_outside_says_nothing_of_the_photo(fresh: PhotoReader) -> None:
    with pytest.MonkeyPatch.context() as patch:
        sabotage(patch, "h._tame = lambda form: os.kill(os.getpid(), 9)")
        outcome = fresh.decode(contents(GIF))
    assert isinstance(outcome, Skipped)
    assert "from outside" in outcome.detail
    assert outcome.reason is SkipReason.UNAVAILABLE


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, MemoryError])
def test_an_exception_while_waiting_leaves_no_stale_reply(fresh: PhotoReader, trouble: type[BaseException]) -> None:
    assert isinstance(fresh.decode(contents(GIF)), Photo)

    def interrupted(*_: object) -> None:
        raise trouble

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(isolation.select, "poll", interrupted)
        if trouble is KeyboardInterrupt:
            with pytest.raises(trouble):
                fresh.decode(contents(GIF))
        else:
            assert isinstance(fresh.decode(contents(GIF)), Skipped)
    photo = fresh.decode(contents(saved(scene(50, 40), "BMP")))
    assert isinstance(photo, Photo)
    np.testing.assert_array_equal(photo.pixels, np.asarray(scene(50, 40)))


def test_what_cannot_start_is_tried_again_later(fresh: PhotoReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation.sys, "executable", "/nowhere/python")
    outcome = fresh.decode(contents(GIF))
    assert isinstance(outcome, Skipped)
    assert outcome.reason is SkipReason.UNAVAILABLE


@pytest.mark.parametrize(
    "deed",
    ["raise ImportError('failed to map segment')", "raise MemoryError", "os._exit(1)", "os.kill(os.getpid(), 11)"],
)
def test_a_helper_that_ends_before_it_serves_says_nothing_of_the_photo(fresh: PhotoReader, deed: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        sabotage(patch, deed)
        outcome = fresh.decode(contents(GIF))
    assert isinstance(outcome, Skipped)
    assert outcome.reason is SkipReason.UNAVAILABLE
    assert isinstance(fresh.decode(contents(GIF)), Photo)


@pytest.mark.parametrize(
    "error",
    [
        "ImportError('failed to map segment')",
        "MemoryError()",
        "OSError(24, 'Too many open files')",
        "RuntimeError('x')",
    ],
)
@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_a_reader_that_cannot_be_loaded_says_nothing_of_the_photo(fresh: PhotoReader, kind: str, error: str) -> None:
    finder = (
        "import sys\nclass Finder:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.startswith('PIL'):\n            raise {error}\nsys.meta_path.insert(0, Finder())"
    )
    with pytest.MonkeyPatch.context() as patch:
        sabotage(patch, finder)
        outcome = fresh.decode(contents(saved(scene(), kind)))
    assert isinstance(outcome, Skipped)
    assert outcome.reason is SkipReason.UNAVAILABLE
    fresh.close()
    assert isinstance(fresh.decode(contents(GIF)), Photo)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        ValueError("Insufficient memory (case 4)"),
        ImportError("x"),
    ],
)
def test_a_want_of_memory_in_the_worker_says_nothing_of_the_photo(
    fresh: PhotoReader, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("simplejpeg.decode_jpeg", refuse)
        outcome = fresh.decode(contents(JPEG))
    assert isinstance(outcome, Skipped)
    assert outcome.reason is SkipReason.UNAVAILABLE
    assert isinstance(fresh.decode(contents(JPEG)), Photo)


def test_a_fault_while_memory_is_short_says_nothing_of_the_photo(
    fresh: PhotoReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder without memory may crash or report a broken file."""
    broken = saved(scene(), "PNG").replace(b"IDATx", b"IDAT\xff")
    with monkeypatch.context() as patch:
        patch.setattr("facecli.photos.faults.is_memory_short", lambda _: True)
        patch.setattr("facecli.photos.isolation.is_memory_short", lambda _: True)
        outcome = fresh.decode(contents(broken))
        sabotage(patch, "h.open_picture = lambda *a, **k: os.kill(os.getpid(), 6)")
        crashed = fresh.decode(contents(GIF))
    for one, after in ((outcome, broken), (crashed, GIF)):
        assert isinstance(one, Skipped)
        assert one.reason is SkipReason.UNAVAILABLE
        again = fresh.decode(contents(after))
        assert not isinstance(again, Skipped) or again.reason is SkipReason.UNREADABLE


def test_memory_is_short_where_a_limit_says_so() -> None:
    code = "import resource; from facecli.photos.faults import is_memory_short as l; before = l(0)\n"
    code += "now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
    code += "resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 27), -1)); print(before, l(0))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False True\n"
    )


def test_a_decoder_that_claims_too_much_memory_is_refused(fresh: PhotoReader, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(monkeypatch, "h.open_picture = lambda *a, **k: bytearray(3 << 30)")
    outcome = fresh.decode(contents(GIF))
    assert isinstance(outcome, Skipped)
    assert "memory" in outcome.detail


def test_what_decoders_print_stays_in_the_helper(
    fresh: PhotoReader, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = "[print('noise', flush=True), os.write(1, b'noise'), os.write(2, b'noise')]"
    sabotage(monkeypatch, f"tame = h._tame; h._tame = lambda form: [{noise}, tame(form)]")
    assert isinstance(fresh.decode(contents(GIF)), Photo)
    assert capfd.readouterr() == ("", "")


def test_a_working_directory_that_shadows_modules_is_not_imported(
    fresh: PhotoReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIL", "numpy", "json", "facecli"):
        (tmp_path / f"{name}.py").write_text("import os; os._exit(9)")
    monkeypatch.chdir(tmp_path)
    assert isinstance(fresh.decode(contents(GIF)), Photo)


def test_an_orphan_ends(tmp_path: Path) -> None:
    """The helper of a killed worker ends by itself, both while it waits and while its decoder hangs."""
    busy = tmp_path / "busy"
    # The worker would wait for ten minutes, and the helper's alarm comes after two seconds.
    hanging = f"lambda *_, **__: open({str(busy)!r}, 'w').close() or time.sleep(600); h._ORPHAN_SECONDS = -598.0"
    for hang in ("", f"h.open_picture = {hanging}"):
        code = (
            "import sys, time\nfrom facecli.photos import isolation as i\nfrom facecli.photos.sniff import ImageFormat\n"  # noqa: E501
            "start = i._START.removesuffix('main()').replace('; ', '\\n') + 'import time, facecli.photos.helper as h\\n'\n"  # noqa: E501
            f"i._START = start + {hang!r} + '\\nmain()'\n"
            "i.HEADER_SECONDS = 600.0\nhelper = i.Helper()\nhelper._start()\nprint(helper._process.pid, flush=True)\n"
            "helper.open_picture(ImageFormat.GIF, sys.stdin.buffer.read(), accept_truncated=False)\n"
            "open('busy', 'w').close()\ntime.sleep(600)\n"
        )
        worker = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
        )
        with worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write(GIF)
            worker.stdin.close()
            helper = psutil.Process(int(worker.stdout.readline()))
            while not busy.exists() and worker.poll() is None:
                time.sleep(0.01)
            worker.send_signal(signal.SIGKILL)
        busy.unlink()
        assert psutil.wait_procs([helper], timeout=60)[1] == []


def test_nothing_is_left_in_the_directory_for_temporary_files(
    fresh: PhotoReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert isinstance(fresh.decode(contents(GIF)), Photo)
    monkeypatch.delattr(isolation.os, "memfd_create")
    fresh.close()
    assert isinstance(fresh.decode(contents(GIF)), Photo)
    assert list(tmp_path.iterdir()) == []


def test_no_handle_is_left(fresh: PhotoReader) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert isinstance(fresh.decode(contents(GIF)), Photo)
        fresh.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_jpeg_of_countless_scans_goes_to_the_helper(fresh: PhotoReader) -> None:
    data = saved(scene(), "JPEG", progressive=True)
    before = helpers()
    many = with_segments(data, *[(0xFE, b"\xff\xda")] * 80)
    assert isinstance(fresh.decode(contents(many)), Photo)
    assert len(helpers() - before) == 1


def test_the_budget_is_given_back_whatever_happens() -> None:
    budget = PixelBudget(10_000_000)
    reader = PhotoReader(ReadOptions(max_pixels=100_000), budget)
    for data in (JPEG, GIF, JPEG[:900], GIF[:900], saved(scene(1000, 1000), "PNG"), b"text", with_exif(JPEG, 6)):
        reader.decode(contents(data))
    reader.release()
    for share in (budget.files, budget.pixels):
        assert share.take(budget.total) == share.total
        share.give(share.total)
    reader.close()


def kept_bytes(reader: PhotoReader) -> int:
    assert isinstance(reader.space, ReusedSpace)
    return reader.space._frame._bytes.size


def test_large_frames_are_given_back(fresh: PhotoReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FrameBuffer, "KEEP", 100_000)
    large = fresh.decode(contents(saved(scene(600, 400), "JPEG")))
    assert isinstance(large, Photo)
    assert kept_bytes(fresh) == 720_000
    fresh.release()
    assert kept_bytes(fresh) == 0
    small = fresh.decode(contents(JPEG))
    assert isinstance(small, Photo)
    fresh.release()
    assert kept_bytes(fresh) == 96 * 64 * 3
