"""`search --show`: draw the query faces and the matches on the terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from facecli.cli.streams import results
from facecli.config import ReadOptions
from facecli.output.drawing import draw_faces, protocol_of
from facecli.output.records import similarity_text
from facecli.searching.picturing import AnswerPictures
from facecli.searching.thumbnails import jpeg_pixels, png_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facecli.output.terminal import Terminal
    from facecli.reporting import Reporter
    from facecli.searching.picturing import FacePicture
    from facecli.searching.search import SearchAnswer
    from facecli.store.reader import IndexReader
    from facecli.types import SearchResult


def show_faces(reader: IndexReader, answer: SearchAnswer, terminal: Terminal, report: Reporter) -> None:
    """Draw the faces of each query, then those of its matches, best first."""
    pictures = AnswerPictures(reader, answer)
    pictures.make(ReadOptions(), report)
    protocol = protocol_of(os.environ)
    with results(lasting=True) as out:
        for result in answer.results:
            if result.matches:
                faces = [
                    (label, jpeg_pixels(picture.face)) for label, picture in _labelled(pictures, result) if picture.face
                ]
                for line in draw_faces(faces, terminal.width, protocol, png_bytes):
                    out.drawn.write(line.encode() + b"\n")


def _labelled(pictures: AnswerPictures, result: SearchResult) -> Iterator[tuple[str, FacePicture]]:
    for face in result.asked:
        yield "query", pictures.of_query(face)
    for match in result.matches:
        yield f"{match.rank}  {similarity_text(match.similarity)}", pictures.of_match(match)
