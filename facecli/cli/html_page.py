"""`search --html`: the matches as an HTML page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from facecli.cli.streaming import takes_stream, write_into
from facecli.config import ReadOptions
from facecli.errors import OutputError, check_name
from facecli.output.gallery import Card, Gallery, GalleryPicture, Section, gallery_page
from facecli.output.paths import printable_path
from facecli.output.placing import refuse_index, replace_file
from facecli.output.terminal import file_url
from facecli.searching.picturing import AnswerPictures, FacePicture
from facecli.searching.provenance import provenance_record
from facecli.searching.query_parser import STDIN
from facecli.types import Box
from facecli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facecli.output.records import PathStyle
    from facecli.reporting import Reporter
    from facecli.searching.search import SearchAnswer
    from facecli.store.reader import IndexReader
    from facecli.types import Match, QueryFace, SearchResult

FIRST_BYTES = b"<!doctype html>"


def check_page(file: str) -> None:
    """Raise OutputError if the page cannot be written: no such directory, or a file there that is not an HTML page.

    The kind of file is checked before it is opened, since opening a pipe may block and opening a device may have side
    effects.
    """
    check_name(file, "--html")
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


def _is_page(file: str) -> bool:
    try:
        with open(file, "rb") as existing:
            return existing.read(len(FIRST_BYTES)).lower() == FIRST_BYTES
    except OSError:
        return False


class PageMaker:
    """Creates the page of one search."""

    def __init__(self, reader: IndexReader, answer: SearchAnswer, style: PathStyle) -> None:
        self._reader, self._answer, self._style = reader, answer, style
        self._pictures = AnswerPictures(reader, answer)

    def make(self, file: str, results: Sequence[SearchResult], report: Reporter) -> None:
        """Write the page."""
        check_page(file)
        self._pictures.make(ReadOptions(), report)
        info, answer = self._reader.info, self._answer
        sections = [self._section(result, asked) for result, asked in zip(results, answer.references, strict=True)]
        found = sum(len(section.cards) for section in sections)
        among = f"among {counted(info.faces, 'face')} in {counted(info.photos, 'photo')}"
        summary = f"{counted(found, 'match')} {among}" if found else f"Not found {among}"
        gallery = Gallery(sections, summary, answer.threshold.describe(), provenance_record(answer, info))
        pieces = (piece.encode() for piece in gallery_page(gallery))
        if takes_stream(file):
            write_into(file, pieces)
        else:
            replace_file(file, pieces)

    def _section(self, result: SearchResult, asked: Sequence[QueryFace]) -> Section:
        query = result.query
        title = printable_path(query.query) + (
            f", face {query.number}" if len(asked) == 1 and query.face_id is None else ""
        )
        queries = tuple(self._picture(self._pictures.of_query(face), face.box) for face in asked)
        return Section(title, queries, tuple(map(self._card, result.matches)))

    def _card(self, match: Match) -> Card:
        picture = self._picture(self._pictures.of_match(match), match.box)
        return Card(picture, match.rank, match.similarity, match.face_id, match.confidence or "")

    def _picture(self, made: FacePicture, box: Box) -> GalleryPicture:
        shown = printable_path(made.path if made.path == STDIN else self._style.show(made.path))
        url = "" if made.path == STDIN else file_url(made.path)
        return GalleryPicture(
            shown, printable_path(made.path), url, box, made.width, made.height, made.thumbnail, made.face, made.trouble
        )
