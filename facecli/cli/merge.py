"""`facecli merge`: merge indexes into one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from msgspec.structs import asdict

from facecli.cli.choices import number
from facecli.cli.names import Name
from facecli.cli.options import Common, ExampleCommand, common_options
from facecli.cli.streams import results
from facecli.directories import absolute
from facecli.errors import FacecliError, Interrupted, UsageError
from facecli.wording import counted

if TYPE_CHECKING:
    from facecli.cli.console import Console
    from facecli.merging import MergeReport

EXAMPLES = """
facecli merge all.index part1 part2 part3    the parts of one collection
facecli merge ~/.facecli /mnt/usb/.facecli   the photos of a disk into your own index
facecli merge --dry-run all.index part4      what would be taken in
"""
SAID = {
    "new": "new",
    "changed": "changed",
    "unchanged": "there already",
    "kept_out": "removed earlier and kept out",
    "again": "left to the next facecli index, since they must be read again",
}


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.argument("target", metavar="DEST", type=Name())
@click.argument("shards", metavar="SHARD…", nargs=-1, required=True, type=Name())
@click.option("--dry-run", is_flag=True, help="Print what would be taken in, change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a report as one JSON object.")
@click.option(
    "--wait", metavar="SECONDS", type=number("wait_seconds"), default=0.0, help="Seconds to wait for another writer."
)
@common_options
def merge(common: Common, target: str, shards: tuple[str, ...], **given: Any) -> None:
    """Merge indexes into one, as if one run had indexed all their photos.

    DEST is the index that takes in the photos of each SHARD, another index of the same model and settings; it is made
    if there is none. SHARDs are only read. Of several photos at one path the file that was changed last counts. What
    was removed from DEST stays out. A merge that was stopped goes on when it is run again.
    """
    from facecli.cli.interrupt import catching_signals  # noqa: PLC0415 (not for --help)
    from facecli.merging import MergeRequest, merge_indexes  # noqa: PLC0415 (not for --help)

    _refuse_index_option()
    console = common.console()
    request = MergeRequest(absolute(target), tuple(map(absolute, shards)), given["dry_run"], given["wait"])
    with catching_signals(console) as stop:
        report = merge_indexes(request, console, stop)
    for shard in report.with_decisions:
        _adopt_people(report.index, shard, console)
    if given["as_json"]:
        _print(report)
    _tell(report, console, dry_run=given["dry_run"])
    if report.interrupted_by:
        raise Interrupted(report.interrupted_by, "stopped early: run it again to continue")


def _adopt_people(index: str, shard: str, console: Console) -> None:
    """Take over what was decided about people in a shard."""
    from facecli.naming.album import IndexPeople  # noqa: PLC0415 (only where there is something)

    try:
        done = IndexPeople(Path(index), console).adopt(Path(shard))
    except FacecliError as error:
        console.warn(f"what was decided about people in {shard} is not taken over: {error}")
        return
    for complaint in done.complaints:
        console.warn(f"left out of what was decided in {shard}: {complaint}")
    console.detail(f"{counted(done.people, 'person')} changed by what was decided in {shard}")


def _refuse_index_option() -> None:
    """Raise UsageError where -i is given: DEST is the index."""
    if click.get_current_context().get_parameter_source("index") is ParameterSource.COMMANDLINE:
        raise UsageError("the index is the first argument, not -i", "facecli merge", hint="facecli merge DEST SHARD…")


def _print(report: MergeReport) -> None:
    from facecli.output.paths import path_record  # noqa: PLC0415 (not for --help)
    from facecli.output.records import json_line  # noqa: PLC0415 (not for --help)

    record: dict[str, Any] = {
        **path_record(report.index, "index"),
        "shards": [path_record(shard) for shard in report.shards],
        "photos": asdict(report.photos),
        "faces": asdict(report.faces),
        "skipped": report.skipped,
        "seconds": round(report.seconds, 3),
    }
    with results(lasting=True) as out:
        out.write(json_line(record))


def _tell(report: MergeReport, console: Console, *, dry_run: bool) -> None:
    photos, faces = report.photos, report.faces
    kinds = [f"{getattr(photos, kind)} {said}" for kind, said in SAID.items() if getattr(photos, kind)]
    held = f"{counted(photos.total, 'photo')} with {counted(faces.total, 'face')} in {os.path.relpath(report.index)}"
    seen = f"of {photos.seen} in {counted(len(report.shards), 'index')} {', '.join(kinds) or 'none new'}"
    console.warn(f"{held}; {'nothing was changed; ' if dry_run else ''}{seen}")
    if photos.superseded:
        console.detail(f"{counted(photos.superseded, 'photo')} passed over for a later state in another index")
