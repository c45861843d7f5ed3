"""`search --html`: the matches as an HTML page."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from msgspec.structs import replace

from facecli.cli.context import now
from facecli.cli.streaming import takes_stream, write_into
from facecli.config import ReadOptions
from facecli.errors import OutputError
from facecli.output.gallery import Card, Gallery, GalleryPicture, Section, gallery_page
from facecli.output.matches import others_of, without_copies
from facecli.output.paths import printable_path
from facecli.output.placing import refuse_index, replace_file
from facecli.output.terminal import file_url
from facecli.searching.picturing import AnswerPictures, FacePicture
from facecli.searching.provenance import provenance_record
from facecli.searching.query_parser import STDIN
from facecli.thresholds import CONFIDENCE_WORDS
from facecli.types import Box
from facecli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from facecli.cli.console import Console
    from facecli.output.records import PathStyle
    from facecli.searching.search import SearchAnswer
    from facecli.store.reader import IndexReader
    from facecli.types import Match, SearchResult

FIRST_BYTES = b"<!doctype html>"
LARGE_PAGE = 50_000_000
"""Bytes from which on browsers are slow with a page."""


def check_page(file: str) -> None:
    """Raise OutputError if the page cannot be written: no such directory, or a file there that is not an HTML page.

    The kind of file is checked before it is opened, since opening a pipe may block and opening a device may have side
    effects.
    """
    if takes_stream(file):
        return
    refuse_index(file)
    folder = os.path.dirname(os.path.abspath(file))
    if not os.path.isdir(folder):
        raise OutputError("there is no such directory", folder)
    if not os.access(folder, os.W_OK):
        raise OutputError("no permission to write there", folder)
    if os.path.lexists(file) and not (os.path.isfile(file) and _is_page(file)):
        raise OutputError("not an HTML page, so it is not overwritten", file)


def show_in_browser(file: str, console: Console) -> None:
    """Open a page with the desktop's program; a line says so if there is none."""
    program = "open" if sys.platform == "darwin" else "xdg-open"
    nowhere = subprocess.DEVNULL
    try:
        subprocess.Popen(  # noqa: S603 (the desktop's own program, with an absolute path)
            [program, os.path.abspath(file)], stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
    except OSError as error:
        console.warn(f"the page cannot be shown: {program} cannot be run ({error.strerror})")


def _is_page(file: str) -> bool:
    try:
        with open(file, "rb") as existing:
            return existing.read(len(FIRST_BYTES)).lower() == FIRST_BYTES
    except OSError:
        return False


class PageMaker:
    """Creates the page of one search, with one card for all copies of a photo."""

    def __init__(self, reader: IndexReader, answer: SearchAnswer, style: PathStyle, console: Console) -> None:
        self._reader, self._style, self._console = reader, style, console
        self._answer = replace(answer, results=tuple(map(without_copies, answer.results)))
        self._pictures = AnswerPictures(reader, self._answer)
        self._bytes = 0

    def make(self, file: str, *, show: bool = False) -> None:
        """Write the page, and say so; `show` opens it in the browser."""
        check_page(file)
        self._pictures.make(ReadOptions(), self._console)
        gallery = self._gallery(now())
        pieces = self._counted(piece.encode() for piece in gallery_page(gallery))
        if takes_stream(file):
            write_into(file, pieces)
            return
        replace_file(file, pieces)
        self._console.warn(f"wrote {file}: {gallery.summary}, {self._bytes / 1e6:.1f} MB")
        if self._bytes > LARGE_PAGE:
            self._console.warn("browsers are slow with pages over 50 MB; -k N or a higher -t makes a smaller one")
        if show:
            show_in_browser(file, self._console)

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._bytes += len(piece)
            yield piece

    def _gallery(self, time: str) -> Gallery:
        info, answer = self._reader.info, self._answer
        sections = [self._section(result) for result in answer.results]
        found = sum(len(section.cards) for section in sections)
        among = f"among {answer.searched}"
        names = ", ".join(dict.fromkeys(printable_path(result.query.query) for result in answer.results))
        return Gallery(
            f"{names} in {printable_path(info.directory)}, {time[:10]} {time[11:16]}",
            sections,
            f"{counted(found, 'match')} {among}" if found else f"Not found {among}",
            answer.threshold.describe(),
            CONFIDENCE_WORDS if answer.threshold.calibration is not None else "",
            provenance_record(answer, info, time),
            tuple(printable_path(str(failure)) for failure in answer.failures),
        )

    def _section(self, result: SearchResult) -> Section:
        query, asked = result.query, result.asked
        title = printable_path(query.query) + (
            f", face {query.number}" if len(asked) == 1 and query.face_id is None else ""
        )
        queries = tuple(self._picture(self._pictures.of_query(face), face.box) for face in asked)
        return Section(title, queries, tuple(map(self._card, result.matches)))

    def _card(self, match: Match) -> Card:
        picture = self._picture(self._pictures.of_match(match), match.box)
        taken = match.taken_at
        time = taken or self._pictures.time_of(match)
        sure = match.confidence or ""
        return Card(
            picture, match.rank, match.similarity, match.face_id, sure, time, taken is not None, others_of(match)
        )

    def _picture(self, made: FacePicture, box: Box) -> GalleryPicture:
        shown = printable_path(made.path if made.path == STDIN else self._style.show(made.path))
        url = "" if made.path == STDIN else file_url(made.path)
        return GalleryPicture(
            shown, printable_path(made.path), url, box, made.width, made.height, made.thumbnail, made.face, made.trouble
        )
