"""`facecli info`: show the contents of an index."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import click

from facecli.cli.context import path_style
from facecli.cli.options import Common, ExampleCommand, common_options
from facecli.cli.streams import results

if TYPE_CHECKING:
    from facecli.output.records import PathStyle
    from facecli.store.reader import IndexReader
    from facecli.store.records import IndexInfo, StoredPhoto
    from facecli.types import JsonValue, Skipped

EXAMPLES = """
facecli info                    counts, model, licence, threshold, sizes
facecli info --photos           one line per photo: path, faces, width, height
facecli info --skipped          the files that could not be read, and why
facecli info --json | jq .faces
"""


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.option("--photos", is_flag=True, help="List the photos: path, faces, width, height.")
@click.option("--skipped", is_flag=True, help="List the files that could not be read: path, reason, detail.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; includes the requested lists.")
@common_options
def info(common: Common, *, photos: bool, skipped: bool, as_json: bool) -> None:
    r"""Show the contents of an index: counts, model and its licence, threshold, sizes on disk.

    The lists are tab-separated; tab, newline and backslash in a path are written \t, \n and \\.
    """
    from facecli.store.locate import find_index  # noqa: PLC0415 (not for --help)
    from facecli.store.reader import open_reader  # noqa: PLC0415 (not for --help)

    style = path_style(common)
    with open_reader(find_index(common.index, os.getcwd())) as reader, results() as out:
        for part in _parts(reader, style, photos=photos, skipped=skipped, as_json=as_json):
            out.write(part)


def _parts(reader: IndexReader, style: PathStyle, *, photos: bool, skipped: bool, as_json: bool) -> Iterator[bytes]:
    """Yield the output in pieces."""
    if as_json:
        yield from _json_parts(reader, style, photos=photos, skipped=skipped)
    elif photos or skipped:
        yield from (_photo_row(photo, style) for photo in (reader.photos() if photos else ()))
        yield from (_skip_row(skip, style) for skip in (reader.skips() if skipped else ()))
    else:
        yield from _summary(reader, style)


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
        "threshold": _threshold(about).removeprefix("threshold "),
        "generation": f"{about.generation}",
        "size": _sizes(about.sizes),
    }
    if about.part:
        rows["part"] = f"{about.part} of the photos; facecli merge unites the parts"
    if about.pending:
        rows["pending"] = "an erasure; the next index, remove or check --repair finishes it"
    if about.migrating_to is not None:
        rows["migration"] = f"to {about.migrating_to.model}, not finished; facecli index --migrate continues"
    for name, value in rows.items():
        yield encoded(f"{name:<11} {_one_line(value)}\n")


def _one_line(value: str) -> str:
    return value.replace("\n", "\\n")


def _settings(about: IndexInfo) -> dict[str, JsonValue]:
    """The settings of the detector and the precision, by the names of their options."""
    names = ("det_size", "small_scale", "min_score", "min_face", "rotate", "tiles", "precision")
    record = about.fingerprint.to_record()
    options = {"tiles": "thorough"}
    return {options.get(name, name).replace("_", "-"): record[name] for name in names}  # type: ignore[misc]


def _word(value: JsonValue) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _threshold(about: IndexInfo) -> str:
    """Describe the default threshold of a search."""
    from facecli.searching.calibrating import find_calibration  # noqa: PLC0415 (not for --help)
    from facecli.thresholds import choose_threshold  # noqa: PLC0415 (not for --help)

    return choose_threshold("auto", find_calibration(about.fingerprint.recogniser_sha256), about.faces).describe()


def _sizes(sizes: Mapping[str, int]) -> str:
    parts = ", ".join(f"{name} {_size(size)}" for name, size in sizes.items() if size)
    return f"{_size(sum(sizes.values()))} ({parts})"


def _size(count: int) -> str:
    """Format a number of bytes with a unit."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def _photo_row(photo: StoredPhoto, style: PathStyle) -> bytes:
    from facecli.output.paths import tsv_path  # noqa: PLC0415 (not for --help)

    return tsv_path(style.show(photo.file.path)) + f"\t{photo.faces}\t{photo.width}\t{photo.height}\n".encode()


def _skip_row(skip: Skipped, style: PathStyle) -> bytes:
    from facecli.output.paths import tsv_path  # noqa: PLC0415 (not for --help)

    return tsv_path(style.show(skip.file.path)) + f"\t{skip.reason}\t".encode() + tsv_path(skip.detail) + b"\n"


# JSON output


def _json_parts(reader: IndexReader, style: PathStyle, *, photos: bool, skipped: bool) -> Iterator[bytes]:
    """Yield one JSON object in pieces, so that a large index needs little memory."""
    from facecli.output.records import json_bytes  # noqa: PLC0415 (not for --help)

    people, named = reader.people.totals()
    yield json_bytes({**_record(reader.info, style), "people": people, "named": named})[:-1]
    if photos:
        yield from _json_list("photo_list", (_photo_record(photo, style) for photo in reader.photos()))
    if skipped:
        yield from _json_list("skipped_list", (_skip_record(skip, style) for skip in reader.skips()))
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
        "threshold": _threshold(about),
        "generation": about.generation,
        "epoch": about.epoch,
        "slots": about.slots,
        "holes": about.holes,
        "pending": about.pending,
        "migrating_to": about.migrating_to.model if about.migrating_to else None,
        "schema": about.schema,
        "bytes": dict(about.sizes),
    }


def _photo_record(photo: StoredPhoto, style: PathStyle) -> dict[str, JsonValue]:
    from facecli.output.paths import path_record  # noqa: PLC0415 (not for --help)

    return {
        **path_record(style.show(photo.file.path)),
        "faces": photo.faces,
        "width": photo.width,
        "height": photo.height,
    }


def _skip_record(skip: Skipped, style: PathStyle) -> dict[str, JsonValue]:
    from facecli.output.paths import path_record  # noqa: PLC0415 (not for --help)

    return {**path_record(style.show(skip.file.path)), "reason": str(skip.reason), "detail": skip.detail}
