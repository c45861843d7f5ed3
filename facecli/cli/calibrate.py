"""`facecli calibrate`: measure the false-match rates of a model pack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facecli.cli.context import info_nearby
from facecli.cli.names import Name
from facecli.cli.options import Common, ExampleCommand, common_options, model_options
from facecli.cli.streams import results, say_error
from facecli.output.layout import Column, PlainLayout
from facecli.wording import counted

if TYPE_CHECKING:
    from facecli.thresholds import Calibration, Point
    from facecli.types import JsonValue

EXAMPLES = """
facecli calibrate people/             people/Ann/1.jpg, people/Ben/1.jpg …
facecli calibrate -m buffalo_l people/
"""


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.argument("directory", metavar="DIR", type=Name())
@click.option("--json", is_flag=True, help="Print one JSON object.")
@model_options
@common_options
def calibrate(common: Common, directory: str, model: str | None, device: str, json: bool) -> int:  # noqa: FBT001 (click calls it by name)
    """Measure the false-match rates of a model pack on your own photos.

    DIR holds one folder per person, with photos of this person only; the largest face of each photo is used. All pairs
    of faces are compared. Prints threshold, false-match rate and true-match rate, and stores them for later searches
    with this recogniser. Exit code 0: done, 2: error, 3: some photos could not be read.
    """
    from facecli.calibrating import find_calibration, keep_calibration  # noqa: PLC0415 (not for --help)
    from facecli.searching.measuring import measure, read_people  # noqa: PLC0415
    from facecli.searching.opening import ModelSource, choose_pack  # noqa: PLC0415

    console = common.console()
    info = info_nearby(common) if model is None else None
    pack = choose_pack(model, info)
    sample = read_people(directory, ModelSource(pack, device, info, console))
    for failure in sample.failures:
        say_error(str(failure), failure.hint)
    measured = measure(sample, directory)
    place = keep_calibration(pack.recogniser.sha256, measured)
    _print(measured, pack.recogniser.sha256, common, as_json=json)
    console.warn(
        f"measured {pack.name} on {measured.data.partition(',')[0]}, "
        f"{counted(measured.pairs, 'pair')} of different people; stored in {place}"
    )
    if find_calibration(pack.recogniser.sha256) != measured:
        console.warn("facecli comes with a larger measurement of this recogniser, which stays in use")
    return 3 if sample.failures else 0


def _print(measured: Calibration, recogniser_sha256: str, common: Common, *, as_json: bool) -> None:
    from facecli.cli.printing import choose_format, list_writer  # noqa: PLC0415
    from facecli.output.records import json_line  # noqa: PLC0415

    with results(lasting=True) as out:
        if as_json:
            out.write(json_line({"recogniser_sha256": recogniser_sha256, **measured.to_record()}))
        else:
            list_writer(choose_format({}), out, PointLayout(), common).write(measured.points)


class PointLayout(PlainLayout["Point"]):
    """The layout of the rows of a calibration."""

    columns = tuple(Column(name, right=True) for name in ("threshold", "false matches", "true matches"))
    fields = ("threshold", "false_matches", "true_matches")

    def record(self, point: Point) -> dict[str, JsonValue]:
        """Convert a row to plain values."""
        return {name: getattr(point, name) for name in self.fields}

    def cells(self, point: Point) -> tuple[str, ...]:
        """The cells of a row."""
        return f"{point.threshold:.2f}", f"{point.false_matches:.2e}", f"{point.true_matches:.3f}"
