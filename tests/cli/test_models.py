"""`facecli models`: the table, paths, verification and downloads, as its users see them."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facecli.vision.packs.known import PACKS, REFUSED, SCRFD_500M, W600K_MBF
from facecli.vision.packs.resolve import wheel_directory

if TYPE_CHECKING:
    from conftest import Shell

pytestmark = pytest.mark.usefixtures("_own_cache")


def rows(text: str) -> dict[str, str]:
    return {line.split()[0]: line for line in text.splitlines()}


def test_the_table_names_every_pack_with_its_models_dimension_state_and_licence(shell: Shell) -> None:
    text = shell("models").text
    assert shell("models", "list").text == shell("models", "list", "-q").text == text
    table = rows(text)
    assert list(table) == ["NAME", *(p.name for p in PACKS), *(p.name for p in REFUSED)]
    for part in ("scrfd_500m_bnkps", "w600k_mbf", "512", "present", "as published", "non-commercial research only"):
        assert part in table["buffalo_sc"]
    assert "not here" in table["buffalo_l"]
    assert "not run" in table["raccoon_l"]
    assert len({line.index("non-commercial") for line in text.splitlines()[1:]}) == 1, "the columns are aligned"
    assert "\x1b" not in text


def test_a_damaged_pack_and_one_of_the_users_own_are_in_the_table(shell: Shell, tmp_path: Path) -> None:
    place = tmp_path / "home/.insightface/models"
    (place / "buffalo_s").mkdir(parents=True)
    (place / "buffalo_s" / W600K_MBF.file).write_bytes(b"damaged")
    (place / "own").mkdir()
    table = rows(shell("models").text)
    assert "damaged" in table["buffalo_s"]
    assert "differs" in table["buffalo_s"]
    assert "unknown" in table["own"]
    shell("models", "path", "buffalo_s", code=2)


def test_path_prints_a_directory_and_nothing_else(shell: Shell) -> None:
    assert shell("models", "path", "buffalo_sc").text == wheel_directory() + "\n"
    ran = shell("models", "path", "buffalo_l", code=2)
    assert (ran.text, ran.errors.splitlines()[1]) == ("", "hint: facecli models pull buffalo_l")


def test_verify_hashes_what_is_here(shell: Shell) -> None:
    lines = shell("models", "verify").text.splitlines()
    assert [line.split()[:2] for line in lines] == [["buffalo_sc", "ok"]] * 2
    assert [os.path.basename(line.split()[2]) for line in lines] == [SCRFD_500M.file, W600K_MBF.file]
    assert shell("models", "verify", "buffalo_sc").text.splitlines() == lines
    assert "not on this machine" in shell("models", "verify", "buffalo_l", code=2).errors


def test_verify_finds_what_a_remembered_hash_would_hide(shell: Shell, tmp_path: Path) -> None:
    place = tmp_path / "home/.insightface/models/buffalo_s"
    place.mkdir(parents=True)
    shutil.copyfile(os.path.join(wheel_directory(), W600K_MBF.file), place / W600K_MBF.file)
    (place / "det_500m.onnx").write_bytes(b"another")
    ran = shell("models", "verify", code=1)
    wrong = next(line for line in ran.text.splitlines() if "WRONG" in line)
    assert hashlib.sha256(b"another").hexdigest() in wrong
    assert PACKS[1].detector.sha256 in wrong
    (place / "det_500m.onnx").unlink()
    assert "missing" in shell("models", "verify", "buffalo_s", code=1).text


def test_verify_tells_the_hashes_of_a_directory(shell: Shell, tmp_path: Path) -> None:
    place = tmp_path / "own"
    place.mkdir()
    for model in (SCRFD_500M, W600K_MBF):
        shutil.copyfile(os.path.join(wheel_directory(), model.file), place / model.file)
    with open(place / W600K_MBF.file, "ab") as file:
        file.write(b"2\x05other")
    lines = shell("models", "verify", place).text.splitlines()
    assert [line.split("  ")[1].split()[0] for line in lines] == ["ok", "unknown"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "there is no model pack of this name"),
        ("raccoon_s", "facecli cannot use this model pack"),
        ("../evil", "there is no model pack"),
    ],
)
def test_what_cannot_be_pulled_is_said(shell: Shell, name: str, message: str) -> None:
    assert message in shell("models", "pull", name, code=2).errors


def test_the_default_pack_need_not_be_pulled(shell: Shell) -> None:
    ran = shell("models", "pull", "buffalo_sc")
    assert ran.text == wheel_directory() + "\n"
    assert "non-commercial" in ran.errors


def test_pull_without_a_network_is_one_error_and_leaves_nothing(shell: Shell, tmp_path: Path) -> None:
    own = {"FACECLI_MODELS_URL": "http://127.0.0.1:9", "XDG_CACHE_HOME": ""}
    ran = shell("models", "pull", "buffalo_s", code=2, env=own)
    first, hint = ran.errors.splitlines()
    assert first.startswith("facecli: error: a pack cannot be downloaded (")
    assert "FACECLI_MODELS_URL" in hint
    assert ran.out == b""
    assert [p.name for p in (tmp_path / "home").rglob("*") if p.is_file()] == ["buffalo_s.lock"]


def test_an_unknown_command_is_a_usage_error(shell: Shell) -> None:
    assert "No such command 'nothing'" in shell("models", "nothing", code=2).errors
