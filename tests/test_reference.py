"""What is made from the help: the reference, the manual pages, and the scripts for the shells."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from facecli.cli.group import COMMANDS

if TYPE_CHECKING:
    from conftest import Shell

ROOT = Path(__file__).parent.parent
AGAIN = "python docs/write_reference.py makes it anew"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """The script docs/write_reference.py."""
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "docs/write_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_help_says(writer: ModuleType) -> None:
    assert (ROOT / "docs/reference.md").read_text("utf-8") == writer.reference(), AGAIN


def test_the_manual_pages_are_what_the_help_says(writer: ModuleType) -> None:
    assert {path.name: path.read_text("utf-8") for path in (ROOT / "man").iterdir()} == writer.manuals(), AGAIN


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_has_every_option_of_the_help(shell: Shell, writer: ModuleType, name: str) -> None:
    """Compares with what the command prints, so that the script forgets nothing."""
    (page,) = [page for page in writer.pages() if page.words[1] == name]
    for part in (page, *page.below):
        printed = shell(*part.words[1:], "--help").text.partition("Options:\n")[2].partition("\n\n")[0]
        assert "".join(printed.split()) == "".join("".join(record) for record in part.options).replace(" ", "")


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_manual_pages_are_sound() -> None:
    for path in sorted((ROOT / "man").iterdir()):
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", "-k", path], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        assert "EXIT STATUS" in done.stdout


def test_the_wheel_installs_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name.partition(".data/data/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    assert names >= {f"share/man/man1/facecli-{name}.1" for name in COMMANDS}
    assert names >= {
        "share/bash-completion/completions/facecli",
        "share/zsh/site-functions/_facecli",
        "share/fish/vendor_completions.d/facecli.fish",
    }
