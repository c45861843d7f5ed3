"""The report of an index run: a JSON object on stdout, a summary on stderr."""

from __future__ import annotations

import importlib.util
import os

from msgspec.structs import asdict

from facecli.cli.console import Console
from facecli.cli.streams import results
from facecli.output.paths import path_record, shown_path
from facecli.output.records import json_line
from facecli.pipeline.clock import bottleneck
from facecli.types import IndexReport, JsonValue, PhotoCounts, Skipped
from facecli.wording import counted

ADVICE = {
    "scan": "the list of files",
    "read": "a faster disk",
    "decode": "more cores (--jobs)",
    "detect": "more cores (--jobs) or a GPU",
    "align": "more cores (--jobs)",
    "embed": "more cores (--jobs) or a GPU",
    "write": "a faster disk for the index",
}
"""What makes a run faster, by the stage that limits it."""
LONG_SECONDS = 60.0
"""Longer runs get advice; in shorter ones the start takes too large a share of the time."""


def report_record(report: IndexReport, *, absolute: bool, working_directory: str) -> dict[str, JsonValue]:
    """Convert a report to the JSON object of `facecli index --json`."""
    photos = report.photos.new + report.photos.changed
    return {
        **path_record(report.index, "index"),
        "model": report.model,
        "device": report.device or "none",
        "provider": report.provider or "none",
        "engine": report.engine or "none",
        "workers": report.workers,
        "seconds": round(report.seconds, 3),
        "photos_per_second": round(photos / report.seconds, 3) if report.seconds > 0 else 0.0,
        "photos": asdict(report.photos),
        "faces": asdict(report.faces),
        "kept_out": report.kept_out,
        "stages": {name: {k: round(v, 4) for k, v in asdict(time).items()} for name, time in report.stages.items()},
        "bottleneck": bottleneck(report.stages, report.jobs, report.devices) if report.stages else "",
        "skipped": [
            _skip_record(s, shown_path(s.file.path, absolute=absolute, working_directory=working_directory))
            for s in report.skipped
        ],
    }


def _skip_record(skipped: Skipped, path: str) -> dict[str, JsonValue]:
    record: dict[str, JsonValue] = {**path_record(path), "reason": str(skipped.reason), "detail": skipped.detail}
    return record | {"known": True} if skipped.known else record


def print_report(report: IndexReport, *, absolute: bool) -> None:
    """Write the report to stdout as one JSON object."""
    record = report_record(report, absolute=absolute, working_directory=os.getcwd())
    with results(lasting=True) as out:
        out.write(json_line(record))


def tell_report(report: IndexReport, console: Console, *, dry_run: bool) -> None:
    """Print a summary on stderr."""
    photos, faces = report.photos, report.faces
    changes = [f"{count} {word}" for word, count in asdict(photos).items() if count and word not in ("seen", "total")]
    held = f"{counted(photos.total, 'photo')} with {counted(faces.total, 'face')} in the index"
    if dry_run:
        console.warn(f"{held}; nothing was changed; {_rehearsed(photos)}")
    else:
        speed = _speed(report, console) if report.device else ""
        console.warn(f"{held}; of {photos.seen} seen {', '.join(changes) or 'none new'}{speed}")
        for name, time in report.stages.items() if report.device else ():
            console.detail(f"  {name:<7} busy {time.busy_seconds:8.2f} s  waiting {time.wait_seconds:8.2f} s")
    known = sum(s.known for s in report.skipped)
    if known:
        console.warn(
            f"{counted(known, 'photo')} could not be read by an earlier run, unchanged since: facecli info --skipped"
        )
    if report.kept_out:
        what = "1 photo or face" if report.kept_out == 1 else f"{report.kept_out:,} photos and faces"
        console.warn(f"{what} removed earlier left out again: facecli remove --forget lets them back in")


def _rehearsed(photos: PhotoCounts) -> str:
    """Describe what a run would do."""
    kinds = ("new", "changed", "moved", "unchanged", "skipped")
    found = ", ".join(f"{getattr(photos, kind):,} {kind}" for kind in kinds if getattr(photos, kind))
    said = f"a run would see {counted(photos.seen, 'photo')}" + (f": {found}" if found else "")
    return said + (f"; and remove {photos.removed:,} from the index" if photos.removed else "")


def _speed(report: IndexReport, console: Console) -> str:
    """The rate, the device that was used and, for long runs, the limiting stage."""
    looked = report.photos.new + report.photos.changed
    rate = looked / report.seconds if report.seconds > 0 else 0.0
    advice = f"; {_advice(report)}" if console.verbose or report.seconds > LONG_SECONDS else ""
    return (
        f"; {counted(report.faces.added, 'face')} added in {report.seconds:.1f} s, {rate:.1f} photos/s, "
        f"on {report.device} ({report.provider}, {_workers(report)}{counted(report.jobs, 'job')}){advice}"
    )


def _workers(report: IndexReport) -> str:
    """Who did the work, if not the threads of this process."""
    match report.engine:
        case "processes":
            return f"{counted(report.workers, 'process')}, "
        case "ray":
            return f"{counted(report.workers, 'worker')} of Ray on {counted(report.machines, 'machine')}, "
        case _:
            return ""


def _advice(report: IndexReport) -> str:
    """Name the limiting stage and what would make it faster."""
    bound = bottleneck(report.stages, report.jobs, report.devices)
    advice = ADVICE[bound]
    if bound == "embed" and not report.devices and importlib.util.find_spec("openvino") is None:
        advice = "more cores (--jobs), a GPU, or the extra [openvino]"
    return f"limited by {bound}: {advice} would help"
