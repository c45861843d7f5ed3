"""`facecli verify`: check whether two photos show the same person."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from facecli.cli.context import info_nearby
from facecli.cli.names import Name
from facecli.cli.options import Common, ExampleCommand, common_options, face_option, model_options, threshold_option
from facecli.cli.streams import results
from facecli.output.layout import Column, PlainLayout

if TYPE_CHECKING:
    from facecli.searching.verifying import Verdict
    from facecli.types import JsonValue

EXAMPLES = """
facecli verify a.jpg b.jpg && echo same
facecli verify --face all a.jpg group.jpg     the best pair of all faces
facecli verify --json -t strict a.jpg b.jpg
facecli verify face:12 a.jpg                  a face of the index
"""


class VerifyArguments(Struct, frozen=True):
    """The parsed arguments."""

    one: str
    other: str
    threshold: str
    face: str
    json: bool
    model: str | None
    device: str


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.argument("one", metavar="A", type=Name())
@click.argument("other", metavar="B", type=Name())
@threshold_option("Minimum similarity: a number, loose, balanced, strict, auto, none.")
@face_option("largest", "Which face of each photo; all: the best pair.")
@click.option("--json", is_flag=True, help="Print one JSON object.")
@model_options
@common_options
def verify(common: Common, **given: Any) -> int:
    """Check whether two photos show the same person; needs no index.

    Prints the similarity, the threshold and the verdict, `same` or `different`. A and B are image files, - for an image
    on stdin, face:ID for a face of the index, or person:NAME for the mean of a person's faces. Exit code 0: same, 1:
    different, 2: error.
    """
    from facecli.cli.printing import choose_format, list_writer  # noqa: PLC0415 (not for --help)

    asked = VerifyArguments(**given)
    verdict = _compare(common, asked)
    common.console().detail(verdict.threshold.describe())
    with results() as out:
        writer = list_writer(choose_format({"json": asked.json}), out, VerdictLayout(), common)
        writer.write([verdict])
    return 0 if verdict.same else 1


def _compare(common: Common, asked: VerifyArguments) -> Verdict:
    from facecli.config import SearchOptions  # noqa: PLC0415 (not for --help)
    from facecli.searching.gathering import Surroundings  # noqa: PLC0415
    from facecli.searching.query_parser import FACE_PREFIX, PERSON_PREFIX  # noqa: PLC0415
    from facecli.searching.verifying import verify_photos  # noqa: PLC0415
    from facecli.store.locate import find_index  # noqa: PLC0415
    from facecli.store.reader import open_reader  # noqa: PLC0415

    options = SearchOptions(threshold=asked.threshold, face=asked.face, model=asked.model, device=asked.device)
    around = Surroundings(os.getcwd(), sys.stdin.buffer, common.console())
    queries = (asked.one, asked.other)
    if not any(query.startswith((FACE_PREFIX, PERSON_PREFIX)) for query in queries):
        return verify_photos(queries, options, around, info_nearby(common))
    with open_reader(find_index(common.index, os.getcwd())) as reader:
        return verify_photos(queries, options, around, reader.info, reader)


class VerdictLayout(PlainLayout["Verdict"]):
    """The layout of a verdict."""

    columns = (Column("similarity", right=True, coloured=True), Column("threshold", right=True), Column("verdict"))
    fields = (
        *("a", "face_a", "box_a", "b", "face_b", "box_b"),
        *("similarity", "threshold", "false_match_rate", "verdict"),
    )

    def record(self, verdict: Verdict) -> dict[str, JsonValue]:
        """Convert a verdict to plain values."""
        from facecli.output.paths import path_record  # noqa: PLC0415 (not for --help)
        from facecli.output.records import box_record  # noqa: PLC0415

        one, other = verdict.faces
        return {
            **path_record(one.query, "a"),
            "face_a": one.number,
            "box_a": box_record(one.box),
            **path_record(other.query, "b"),
            "face_b": other.number,
            "box_b": box_record(other.box),
            "similarity": round(verdict.similarity, 6),
            "threshold": verdict.threshold.minimum,
            "false_match_rate": verdict.threshold.rate,
            "verdict": _word(verdict),
        }

    def cells(self, verdict: Verdict) -> tuple[str, ...]:
        """The cells of a verdict."""
        return f"{verdict.similarity:.4f}", f"{verdict.threshold.minimum:.4f}", _word(verdict)


def _word(verdict: Verdict) -> str:
    return "same" if verdict.same else "different"
