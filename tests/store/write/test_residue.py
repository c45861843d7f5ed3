"""Traces of deleted data are found in the unused bytes of a catalogue's pages, and the rows that stay are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facecli.store.write import residue
from facecli.store.write.residue import Residue

SIZE = 1024
PATH = b"/home/ann/pictures/holiday/0007.jpg"
BLOB, OTHER = (np.random.default_rng(seed).bytes(100) for seed in (1, 2))


def file_of(folder: Path, page: bytes) -> Path:
    """A database of a header and one more page."""
    header = bytes(16) + SIZE.to_bytes(2, "big")
    (folder / "base").write_bytes(header.ljust(SIZE, b"\0") + page.ljust(SIZE, b"\0"))
    return folder / "base"


def tree_page(kind: int, cells: int, content: int, **data: bytes) -> bytes:
    """A page of a B-tree, with data in its gap, just before `content`, and in its cells, from there on."""
    head = bytes([kind, 0, 0]) + cells.to_bytes(2, "big") + content.to_bytes(2, "big")
    return head.ljust(content - len(data.get("gap", b"")), b"\0") + data.get("gap", b"") + data.get("cell", b"")


@pytest.mark.parametrize("kind", [2, 5, 10, 13])
def test_what_lies_in_a_gap_is_a_trace_and_what_lies_in_a_cell_is_a_row(tmp_path: Path, kind: int) -> None:
    page = tree_page(kind, 30, 600, gap=BLOB + PATH, cell=OTHER + PATH[1:])
    base = file_of(tmp_path, page)
    assert Residue([PATH]).found_in(base)
    assert Residue([b"/another/beginning" + PATH[-24:]]).found_in(base), "a copy may have lost its beginning"
    assert Residue([], [BLOB]).found_in(base)
    for none in (Residue(), Residue([PATH[:-1] + b"x"]), Residue([], [OTHER]), Residue([PATH.upper()], [OTHER])):
        assert not none.found_in(base)


@pytest.mark.parametrize(("kind", "header"), [(5, 12), (13, 8)])
def test_the_pointers_to_the_cells_are_no_gap(tmp_path: Path, kind: int, header: int) -> None:
    for at, found in ((header + 98, False), (header + 100, True)):
        page = bytearray(tree_page(kind, 50, 600))
        page[at : at + 10] = b"a/0007.jpg"
        assert Residue([b"a/0007.jpg"]).found_in(file_of(tmp_path, bytes(page))) is found


@pytest.mark.parametrize("start", range(8))
def test_a_piece_of_fifteen_bytes_is_found_wherever_it_begins(tmp_path: Path, start: int) -> None:
    page = bytes(100 + start) + BLOB[20:35]
    base = file_of(tmp_path, b"\1" + page)
    assert Residue([], [BLOB]).found_in(base)
    assert not Residue([], [OTHER]).found_in(base)


def test_beyond_some_number_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residue, "MOST_ITEMS", 4)
    traces = Residue()
    traces.add([PATH] * 2, [BLOB] * 2)
    assert (len(traces.paths), len(traces.blobs), traces.complete) == (2, 2, True)
    traces.add([PATH])
    assert (traces.paths, traces.blobs, traces.complete) == ([], [], False)
