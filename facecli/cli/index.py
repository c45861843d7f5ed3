"""`facecli index`: find the faces in photos and add them to an index."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facecli.cli.choices import MEGABYTES, number
from facecli.cli.names import Name
from facecli.cli.options import Common, ExampleCommand, common_options, model_options
from facecli.cli.worker_options import fleet_options, worker_options
from facecli.directories import absolute
from facecli.errors import Interrupted, UsageError, check_name

if TYPE_CHECKING:
    from facecli.config import IndexOptions
    from facecli.types import IndexReport

EXAMPLES = """
facecli index ~/Photos                                a directory; creates the index ./.facecli
facecli index                                         update the index
facecli index -i ~/faces.index --exclude cache/ /srv  an index in another place
find . -name '*.jpg' -newer last -print0 | facecli index -0 -
facecli index --json . | jq -r '.skipped[].path'      the files that could not be read
facecli index --migrate -m buffalo_l                  the same photos with another model
facecli index --fleet ray://head:6379 /mnt/photos     with the machines of a Ray cluster
facecli index --part 1/3 -i part1 /srv                a third of the photos, for facecli merge
"""
FAILED = 2
SOME_SKIPPED = 3


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.argument("paths", nargs=-1, metavar="[PATH…]", type=Name())
@click.option("--files-from", metavar="FILE|-", type=Name(), help="Read the photos to index from a list, one per line.")
@click.option("-0", "--null", is_flag=True, help="The list is NUL-separated.")
@model_options
@click.option(
    "-j",
    "--jobs",
    type=number("jobs"),
    default=0,
    metavar="N",
    envvar="FACECLI_JOBS",
    show_envvar=True,
    help="Worker threads; default one per core, more with a GPU.",
)
@click.option(
    "--batch-size",
    type=number("batch_size"),
    metavar="N",
    help="Maximum photos per commit and per batch of a device; default 2048 and what suits the device.",
)
@worker_options
@click.option(
    "--det-size",
    type=number("det_size"),
    metavar="N",
    help="Side of the detector's input in pixels, a multiple of 32; default 640.",
)
@click.option(
    "--thorough/--no-thorough",
    default=None,
    help="Also search parts of each photo for small faces (slow); default no.",
)
@click.option(
    "--rotate/--no-rotate",
    default=None,
    help="Search photos without a sure face at 90, 180, 270 degrees too; default yes.",
)
@click.option("--min-score", type=number("min_score"), metavar="X", help="Minimum score of a face; default 0.5.")
@click.option("--min-face", type=number("min_face"), metavar="PX", help="Minimum width and height of a face.")
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Exclude files, as in .gitignore; repeatable, and kept in the index for later runs.",
)
@click.option("--no-exclude", is_flag=True, help="Forget the patterns that earlier runs were given.")
@click.option("--no-recursive", is_flag=True, help="Do not enter subdirectories.")
@click.option("--follow-symlinks", is_flag=True, help="Enter linked directories.")
@click.option("--force", is_flag=True, help="Detect and embed all faces again; unchanged faces keep their ids.")
@click.option(
    "--migrate",
    is_flag=True,
    help="Embed all photos again with another model or setting; searches use the old embeddings until it is done.",
)
@click.option("--drop-unreachable", is_flag=True, help="With --migrate: drop the photos that cannot be reached.")
@click.option(
    "--precision",
    type=click.Choice(["exact", "fast"]),
    help="exact: the same results as InsightFace; fast: a cosine of at least 0.998 to them.",
)
@click.option(
    "--wait",
    type=number("wait_seconds"),
    default=0.0,
    metavar="S",
    help="Seconds to wait for another writer.",
)
@click.option("--retry-skipped", is_flag=True, help="Read again the files that could not be read before.")
@click.option("--strict", is_flag=True, help="Exit with 3 also if all unreadable files were known before.")
@click.option(
    "--max-pixels",
    type=number("max_pixels"),
    default=200_000_000,
    metavar="N",
    help="Skip photos with more pixels; default 200 million.",
)
@click.option(
    "--max-memory",
    type=MEGABYTES,
    metavar="MB",
    help="Memory for files and decoded photos; default a quarter of the memory, at most 2000.",
)
@click.option("--accept-truncated", is_flag=True, help="Use the readable part of truncated photos.")
@click.option(
    "--prune/--no-prune", default=None, help="Drop photos that are gone even if most of a directory is, or drop none."
)
@click.option("--part", metavar="I/N", help="Index only part I of N, for facecli merge; kept for later runs.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, change nothing.")
@click.option("--watch", is_flag=True, help="Go on: index again whenever photos change, until Ctrl-C or SIGTERM.")
@click.option("--json", "as_json", is_flag=True, help="Print a report as one JSON object.")
@common_options
def index(common: Common, **options: Any) -> int:
    """Find the faces in photos and add them to an index.

    PATH is a photo, a directory (recursive) or - for a list on stdin. Without PATH, updates the directories of earlier
    runs. Exit code 0: done, 2: error, 3: done, but files could not be read that no earlier run named.
    """
    # Imported here, so that --help stays fast.
    from facecli.cli.interrupt import catching_signals, process_began  # noqa: PLC0415
    from facecli.cli.report import print_report, tell_report  # noqa: PLC0415
    from facecli.indexing.index_photos import index_photos  # noqa: PLC0415
    from facecli.indexing.request import IndexRequest  # noqa: PLC0415
    from facecli.store.locate import place_index  # noqa: PLC0415
    from facecli.wording import counted  # noqa: PLC0415

    began = process_began()
    roots, listed = _what_to_index(options["paths"], options["files_from"], nul=options["null"])
    listed, refused = _refuse_empty(listed) if listed else (listed, False)
    directory = str(place_index(common.index, os.getcwd()))
    request = IndexRequest(directory, roots, listed, _options(options), began)
    console = common.console()
    if common.index is None and os.path.dirname(directory) != os.getcwd():
        console.warn(f"the index found above: {directory}")

    def tell(report: IndexReport) -> None:
        if options["as_json"]:
            print_report(report, absolute=common.absolute)
        tell_report(report, console, dry_run=options["dry_run"])

    def refresh(report: IndexReport) -> None:
        if not (report.interrupted_by or options["dry_run"]):
            from facecli.naming.album import refresh_after_run  # noqa: PLC0415

            refresh_after_run(Path(directory), report.seconds, console)

    def finish(report: IndexReport) -> None:
        refresh(report)
        tell(report)

    with catching_signals(console) as stop:
        if options["watch"]:
            from facecli.cli.watching import Watching, watched_request  # noqa: PLC0415

            return 128 + Watching(watched_request(request), console, stop, finish).run()
        report = index_photos(request, console, stop)
        refresh(report)
    tell(report)
    if report.interrupted_by:
        raise Interrupted(
            report.interrupted_by,
            f"stopped early; {counted(report.photos.total, 'photo')} in the index: run it again to continue",
        )
    return FAILED if refused else _exit_code(report, strict=options["strict"])


def _refuse_empty(listed: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """Report each empty name of a list as an error; returns the other names, and whether there were empty ones."""
    from facecli.cli.streams import say_error  # noqa: PLC0415

    names = tuple(name for name in listed if name)
    if listed and not names:
        check_name("", "entry 1 of a list")
    for place, name in enumerate(listed, 1):
        if not name:
            say_error(f"an empty name: entry {place} of a list", "")
    return names, len(names) < len(listed)


def _exit_code(report: IndexReport, *, strict: bool) -> int:
    """Files that an earlier run has named are no news, so that `facecli index && next` runs in a large archive."""
    skipped = any(strict or not skip.known for skip in report.skipped)
    return SOME_SKIPPED if skipped or report.missing_roots else 0


def _what_to_index(
    paths: tuple[str, ...], files_from: str | None, *, nul: bool
) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The named paths, absolute, and the photos of the lists; None without a list."""
    from facecli.photos.scan import read_list  # noqa: PLC0415

    sources = [p for p in paths if p == "-"] + ([files_from] if files_from is not None else [])
    if nul and not sources:
        raise UsageError("-0 needs a list", "--files-from FILE, or - for stdin")
    if len([s for s in sources if s == "-"]) > 1:
        raise UsageError("stdin can be read only once", "- and --files-from -")
    here = os.getcwd()
    roots = tuple(absolute(p) for p in paths if p != "-")
    if not sources:
        return roots, None
    listed: list[str] = []
    for source in sources:
        if source == "-":
            listed += read_list(sys.stdin.buffer, nul=nul, base=here)
        else:
            try:
                with open(source, "rb") as stream:
                    listed += read_list(stream, nul=nul, base=here)
            except OSError as error:
                raise UsageError(f"the list cannot be read ({error.strerror})", source) from error
    return roots, tuple(listed)


def _options(given: dict[str, Any]) -> IndexOptions:
    """Convert the options of the command line to those of a run."""
    from facecli.config import IndexOptions, Precision, ReadOptions, ScanOptions  # noqa: PLC0415

    if given["drop_unreachable"] and not given["migrate"]:
        raise UsageError("--drop-unreachable needs --migrate", "facecli index")
    same = (
        "model",
        "device",
        "jobs",
        "batch_size",
        "det_size",
        "min_score",
        "min_face",
        "rotate",
        "thorough",
        "force",
        "migrate",
    )
    return IndexOptions(
        **{name: given[name] for name in (*same, "drop_unreachable", "prune", "retry_skipped", "part", "dry_run")},
        precision=Precision(given["precision"]) if given["precision"] else None,
        scan=ScanOptions(not given["no_recursive"], given["follow_symlinks"], given["exclude"], given["no_exclude"]),
        reading=ReadOptions(given["max_pixels"], given["accept_truncated"]),
        wait_seconds=given["wait"],
        max_memory=given["max_memory"] * 1_000_000 if given["max_memory"] else None,
        processes=given["processes"],
        chunk=given["chunk"],
        fleet=fleet_options(given),
    )
