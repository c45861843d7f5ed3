"""facecli works without the packages that insightface brings and facecli does not use."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell

UNUSED = {
    "scipy": "scipy",
    "scikit-image": "skimage",
    "networkx": "networkx",
    "imageio": "imageio",
    "tifffile": "tifffile",
    "lazy-loader": "lazy_loader",
}
"""The distributions that docs/install.md removes, and their modules."""
NEVER = ("insightface", "matplotlib", "pandas", "sklearn", "albumentations")


@pytest.fixture
def bare(shell: Shell, tmp_path: Path) -> Shell:
    """The command where these modules cannot be imported, with an empty cache."""
    block = tmp_path / "block"
    block.mkdir()
    for name in (*UNUSED.values(), *NEVER):
        (block / f"{name}.py").write_text("raise ImportError('not installed')\n")
    shell.environment |= {"PYTHONPATH": str(block), "XDG_CACHE_HOME": str(tmp_path / "fresh")}
    return shell


@pytest.mark.usefixtures("album")
def test_every_command_works_without_them(bare: Shell, find_sample: Callable[[str], Path]) -> None:
    portrait = find_sample("yaoming.jpg")
    bare("index", "album")
    assert "players.jpg" in bare("search", portrait, "--html", "page.html", "--copy-to", "copies").text
    bare("faces", "--crops", "crops", portrait)
    bare("verify", portrait, portrait)
    bare("check")
    bare("remove", "album/party/gdp.jpg")
    bare("info")
    bare("models")
    bare("models", "path", "buffalo_sc")
    said = bare("doctor", code=None)
    assert "Traceback" not in said.text + said.errors
    assert not [name for name in UNUSED if name in said.text], "doctor misses none of them"


def test_the_command_that_removes_them_names_them_all() -> None:
    text = (Path(__file__).parent.parent / "docs/install.md").read_text("utf-8")
    found = re.search(r"^pip uninstall (?:-y )?(.*)$", text, re.MULTILINE)
    assert found is not None
    assert set(found[1].split()) == set(UNUSED)
