"""`facecli verify`: check whether two photos show the same person."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from facecli.cli.choices import FACE
from facecli.cli.context import info_nearby
from facecli.cli.names import Name
from facecli.cli.options import Common, ExampleCommand, common_options, model_options
from facecli.cli.streams import results

if TYPE_CHECKING:
    from facecli.searching.verifying import Verdict

EXAMPLES = """
facecli verify a.jpg b.jpg && echo same
facecli verify --face all a.jpg group.jpg     the best pair of all faces
facecli verify --json -t strict a.jpg b.jpg
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
@click.option(
    "-t",
    "--threshold",
    metavar="X|NAME",
    default="auto",
    show_default=True,
    help="Minimum similarity: a number, loose, balanced, strict, auto, none.",
)
@click.option(
    "--face",
    metavar="largest|all|N",
    type=FACE,
    default="largest",
    show_default=True,
    help="Which face of each photo; all: the best pair.",
)
@click.option("--json", is_flag=True, help="Print one JSON object.")
@model_options
@common_options
def verify(common: Common, **given: Any) -> int:
    """Check whether two photos show the same person; needs no index.

    Prints the similarity, the threshold and the verdict, `same` or `different`. One of the photos may be - for an image
    on stdin. Exit code 0: same, 1: different, 2: error.
    """
    from facecli.config import SearchOptions  # noqa: PLC0415 (not for --help)
    from facecli.searching.gathering import Surroundings  # noqa: PLC0415
    from facecli.searching.verifying import verify_photos  # noqa: PLC0415

    asked = VerifyArguments(**given)
    console = common.console()
    options = SearchOptions(threshold=asked.threshold, face=asked.face, model=asked.model, device=asked.device)
    around = Surroundings(os.getcwd(), sys.stdin.buffer, console)
    verdict = verify_photos((asked.one, asked.other), options, around, info_nearby(common))
    console.detail(verdict.threshold.describe())
    with results() as out:
        out.write(_json(verdict) if asked.json else _text(verdict))
    return 0 if verdict.same else 1


def _word(verdict: Verdict) -> str:
    return "same" if verdict.same else "different"


def _text(verdict: Verdict) -> bytes:
    minimum = verdict.threshold.minimum
    return f"{verdict.similarity:.4f}\t{'none' if minimum is None else f'{minimum:.4f}'}\t{_word(verdict)}\n".encode()


def _json(verdict: Verdict) -> bytes:
    from facecli.output.paths import path_record  # noqa: PLC0415
    from facecli.output.records import box_record, json_line  # noqa: PLC0415

    one, other = verdict.faces
    return json_line(
        {
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
    )
