"""`facecli info`: show the contents of an index."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from facecli.captures import Capture, iso_time
from facecli.cli.context import path_style
from facecli.cli.limiting import limit_options, tell_left_out
from facecli.cli.options import Common, ExampleCommand, common_options
from facecli.cli.streams import results
from facecli.errors import UsageError
from facecli.limits import read_limits
from facecli.output.layout import Column, PlainLayout

if TYPE_CHECKING:
    from facecli.cli.streams import Results
    from facecli.output.layout import Listed, RowLayout
    from facecli.output.records import PathStyle
    from facecli.store.reader import IndexReader
    from facecli.store.records import IndexInfo, StoredPhoto
    from facecli.thresholds import Threshold
    from facecli.types import JsonValue, Skipped

PAGE = 1000
"""Rows of a list that are printed at once."""
EXAMPLES = """
facecli info                    counts, model, licence, threshold, sizes
facecli info --photos           one line per photo: path, faces, width, height
facecli info --photos --after 2004 --under album
facecli info --skipped          the files that could not be read, and why
facecli info --json | jq .faces
"""


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.option("--photos", is_flag=True, help="List the photos: path, faces, width, height.")
@click.option("--skipped", is_flag=True, help="List the files that could not be read: path, reason, detail.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; includes the requested lists.")
@limit_options
@common_options
def info(common: Common, *, photos: bool, skipped: bool, as_json: bool, **given: Any) -> None:
    r"""Show the contents of an index: counts, model and its licence, threshold, sizes on disk.

    The lists are tables on a terminal, tab-separated rows in a pipe; tab, newline and backslash in a path are written
    \t, \n and \\.
    """
    from facecli.store.locate import find_index  # noqa: PLC0415 (not for --help)
    from facecli.store.reader import open_reader  # noqa: PLC0415 (not for --help)

    style, limits = path_style(common), read_limits(**given)
    if limits and not photos:
        raise UsageError("limits are for --photos", "facecli info", hint="facecli info --photos --after 2004")
    with open_reader(find_index(common.index, os.getcwd())) as reader, results() as out:
        listed = reader.photos_within(limits) if photos else None
        if limits:
            tell_left_out(reader.select(limits), common.console())
        if as_json:
            for part in _json_parts(reader, style, listed, skipped=skipped):
                out.write(part)
            return
        if not (photos or skipped):
            for part in _summary(reader, style):
                out.write(part)
        if listed is not None:
            _print_list(listed, PhotoLayout(style), out, common)
        if skipped:
            _print_list(reader.skips(), SkipLayout(style), out, common)


def _print_list(items: Iterator[Listed], layout: RowLayout[Listed], out: Results, common: Common) -> None:
    """Print a list of any length, a page at a time."""
    from facecli.cli.printing import choose_format, list_writer  # noqa: PLC0415 (not for --help)

    writer = list_writer(choose_format({}), out, layout, common)
    while page := list(itertools.islice(items, PAGE)):
        writer.write(page)


# text output


def _summary(reader: IndexReader, style: PathStyle) -> Iterator[bytes]:
    """Yield the lines of the summary."""
    from facecli.output.paths import encoded  # noqa: PLC0415 (not for --help)

    about = reader.info
    kind, (people, named) = about.fingerprint, reader.people.totals()
    rows = {
        "index": style.show(about.directory),
        "photos": f"{about.photos}",
        "faces": f"{about.faces}",
        "people": f"{people}, {named} of them named" if people or named else "0 (facecli people sorts the faces)",
        "skipped": f"{about.skipped} (facecli info --skipped)" if about.skipped else "0",
        "removed": f"{about.kept_out} (facecli remove --forget lets them back in)" if about.kept_out else "0",
        "model": f"{kind.model}, {kind.dimension} dimensions",
        "licence": about.licence,
        "settings": ", ".join(f"{name} {_word(value)}" for name, value in _settings(about).items()),
        "threshold": _threshold(about).describe().removeprefix("threshold "),
        "generation": f"{about.generation}",
        "size": _sizes(about.sizes),
    }
    if excludes := reader.excludes():
        rows["excluded"] = f"{', '.join(excludes)} (index --no-exclude forgets them)"
    if about.part:
        rows["part"] = f"{about.part} of the photos; facecli merge unites the parts"
    if about.pending:
        rows["pending"] = "an erasure; the next index, remove or check --repair finishes it"
    if about.migrating_to is not None:
        changes = kind.describe_differences(about.migrating_to.fingerprint, " to ")
        rows["migration"] = f"{changes}, not finished; facecli index --migrate continues"
    for name, value in rows.items():
        yield encoded(f"{name:<11} {_one_line(value)}\n")


def _one_line(value: str) -> str:
    return value.replace("\n", "\\n")


def _settings(about: IndexInfo) -> dict[str, JsonValue]:
    """The settings of the detector and the precision, by the names of their options."""
    names = (*about.fingerprint.detection.__struct_fields__, "precision")
    record = about.fingerprint.to_record()
    options = {"tiles": "thorough"}
    return {options.get(name, name).replace("_", "-"): record[name] for name in names}  # type: ignore[misc]


def _word(value: JsonValue) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _threshold(about: IndexInfo) -> Threshold:
    """The default threshold of a search."""
    from facecli.calibrating import find_calibration  # noqa: PLC0415 (not for --help)
    from facecli.thresholds import choose_threshold  # noqa: PLC0415 (not for --help)

    return choose_threshold("auto", find_calibration(about.fingerprint.recogniser_sha256), about.faces)


def _threshold_record(threshold: Threshold) -> dict[str, JsonValue]:
    calibration = threshold.calibration
    return {
        "name": threshold.name,
        "value": threshold.minimum,
        "false_match_rate": threshold.rate,
        "people": calibration.people if calibration is not None else None,
        "pairs": calibration.pairs if calibration is not None else None,
    }


def _sizes(sizes: Mapping[str, int]) -> str:
    parts = ", ".join(f"{name} {_size(size)}" for name, size in sizes.items() if size)
    return f"{_size(sum(sizes.values()))} ({parts})"


def _size(count: int) -> str:
    """Format a number of bytes with a unit."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


class PhotoLayout(PlainLayout["StoredPhoto"]):
    """The layout of the photos of an index."""

    columns = (Column("path", path=True), *(Column(name, right=True) for name in ("faces", "width", "height")))
    fields = ("path", "faces", "width", "height", "taken_at", "lat", "lon")

    def __init__(self, style: PathStyle) -> None:
        self._style = style

    def record(self, photo: StoredPhoto) -> dict[str, JsonValue]:
        """Convert a photo to plain values."""
        from facecli.output.paths import path_record  # noqa: PLC0415 (not for --help)

        path = path_record(self._style.show(photo.file.path))
        capture = photo.capture or Capture()
        shape = {"faces": photo.faces, "width": photo.width, "height": photo.height}
        return {
            **path,
            **shape,
            "taken_at": iso_time(capture.taken_ms),
            "lat": capture.latitude,
            "lon": capture.longitude,
        }

    def cells(self, photo: StoredPhoto) -> tuple[str, ...]:
        """The cells of a photo."""
        return self._style.show(photo.file.path), str(photo.faces), str(photo.width), str(photo.height)

    def path(self, photo: StoredPhoto, /) -> str:
        """The photo itself."""
        return photo.file.path


class SkipLayout(PlainLayout["Skipped"]):
    """The layout of the files that could not be read."""

    columns = (Column("path", path=True), Column("reason"), Column("detail"))
    fields = ("path", "reason", "detail")

    def __init__(self, style: PathStyle) -> None:
        self._style = style

    def record(self, skip: Skipped) -> dict[str, JsonValue]:
        """Convert a skipped file to plain values."""
        from facecli.output.paths import path_record  # noqa: PLC0415 (not for --help)

        return {**path_record(self._style.show(skip.file.path)), "reason": str(skip.reason), "detail": skip.detail}

    def cells(self, skip: Skipped) -> tuple[str, ...]:
        """The cells of a skipped file."""
        return self._style.show(skip.file.path), str(skip.reason), skip.detail

    def path(self, skip: Skipped, /) -> str:
        """The file itself."""
        return skip.file.path


# JSON output


def _json_parts(
    reader: IndexReader, style: PathStyle, photos: Iterator[StoredPhoto] | None, *, skipped: bool
) -> Iterator[bytes]:
    """Yield one JSON object in pieces, so that a large index needs little memory."""
    from facecli.output.records import json_bytes  # noqa: PLC0415 (not for --help)

    people, named = reader.people.totals()
    kept: dict[str, JsonValue] = {"people": people, "named": named, "exclude": list(reader.excludes())}
    yield json_bytes({**_record(reader.info, style), **kept})[:-1]
    if photos is not None:
        yield from _json_list("photo_list", map(PhotoLayout(style).record, photos))
    if skipped:
        yield from _json_list("skipped_list", map(SkipLayout(style).record, reader.skips()))
    yield b"}\n"


def _json_list(name: str, records: Iterable[Mapping[str, JsonValue]]) -> Iterator[bytes]:
    from facecli.output.records import json_bytes  # noqa: PLC0415 (not for --help)

    yield f', "{name}": ['.encode()
    for number, record in enumerate(records):
        yield (b", " if number else b"") + json_bytes(record)
    yield b"]"


def _record(about: IndexInfo, style: PathStyle) -> dict[str, JsonValue]:
    from facecli.output.paths import path_record  # noqa: PLC0415 (not for --help)

    kind = about.fingerprint
    return {
        **path_record(style.show(about.directory), "index"),
        "photos": about.photos,
        "faces": about.faces,
        "skipped": about.skipped,
        "kept_out": about.kept_out,
        "part": about.part or None,
        "model": kind.model,
        "detector_sha256": kind.detector_sha256,
        "recogniser_sha256": kind.recogniser_sha256,
        "dimension": kind.dimension,
        "licence": about.licence,
        "settings": _settings(about),
        "threshold": _threshold_record(_threshold(about)),
        "generation": about.generation,
        "epoch": about.epoch,
        "slots": about.slots,
        "holes": about.holes,
        "pending": about.pending,
        "migrating_to": about.migrating_to.fingerprint.model if about.migrating_to else None,
        "schema": about.schema,
        "bytes": dict(about.sizes),
    }
