"""`facecli export`: write faces or photos to a file for other programs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from facecli.cli.limiting import limit_options, tell_left_out
from facecli.cli.names import Name
from facecli.cli.options import Common, ExampleCommand, common_options
from facecli.cli.streams import results
from facecli.errors import OutputError, UsageError, check_name
from facecli.wording import counted

if TYPE_CHECKING:
    from facecli.exporting import Export
    from facecli.output.export.formats import ExportFormat

EXAMPLES = """
facecli export faces.jsonl                         a line of JSON for each face
facecli export --format parquet faces.parquet      for DuckDB, pandas, Polars
facecli export --format npz faces.npz              arrays for numpy
facecli export --format csv --no-embeddings - | head
facecli export --photos --after 2004 photos.jsonl  the photos since 2004
"""
DASH = "-"


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.argument("file", metavar="FILE|-", type=Name())
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "npz", "parquet"]),
    help="The format; default by the ending of FILE, else jsonl.",
)
@click.option("--photos", is_flag=True, help="One record per photo instead of per face.")
@click.option("--person", metavar="P", help="Only the faces of a person, by id or name.")
@click.option("--no-embeddings", is_flag=True, help="Leave out the embeddings.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@limit_options
@common_options
def export(common: Common, file: str, **given: Any) -> None:
    """Write faces or photos to a file for other programs; - is stdout.

    FILE is readable by its owner only, and appears when it is complete.
    """
    from facecli.exporting import Export, ExportRequest  # noqa: PLC0415 (not for --help)
    from facecli.limits import read_limits  # noqa: PLC0415
    from facecli.store.locate import find_index  # noqa: PLC0415
    from facecli.store.reader import open_reader  # noqa: PLC0415

    form = _format(given["form"], file)
    limits = read_limits(given["under"], given["after"], given["before"], given["near"])
    request = ExportRequest(given["photos"], given["person"], limits, not given["no_embeddings"])
    console = common.console()
    with open_reader(find_index(common.index, os.getcwd())) as reader:
        made = Export(reader, request)
        if limits:
            tell_left_out(reader.select(limits), console)
        count = _write(made, form, file, force=given["force"])
    what = counted(count, "photo" if request.photos else "face")
    console.warn(f"wrote {what}" + ("" if file == DASH else f" to {file}"))


def _format(named: str | None, file: str) -> ExportFormat:
    """The format, by its name or by the ending of the file; raises UsageError if stdout cannot take it."""
    from facecli.output.export.formats import ExportFormat  # noqa: PLC0415 (not for --help)

    ending = os.path.splitext(check_name(file, "FILE"))[1].removeprefix(".").lower()
    known = {"ndjson": "jsonl", "json": "jsonl"} | {form.value: form.value for form in ExportFormat}
    form = ExportFormat(named or known.get(ending, "jsonl"))
    if file == DASH and not form.is_stream:
        raise UsageError(f"{form} cannot be written to a pipe", "-", hint="name a file, or use --format jsonl")
    return form


def _write(made: Export, form: ExportFormat, file: str, *, force: bool) -> int:
    """Write the export; returns the number of records."""
    from facecli.output.export.formats import write_export  # noqa: PLC0415 (not for --help)
    from facecli.output.placing import refuse_index  # noqa: PLC0415
    from facecli.whole_files import Part, clear_parts  # noqa: PLC0415

    if file == DASH:
        with results(lasting=True) as out:
            return write_export(form, made.table, made.records(), out)
    refuse_index(file)
    folder = os.path.dirname(os.path.abspath(file))
    if not os.path.isdir(folder):
        raise OutputError("there is no such directory", folder)
    if not force and os.path.lexists(file):
        raise _taken(file)
    try:
        clear_parts(folder)
        with Part(folder) as part:
            with part.open() as stream:
                count = write_export(form, made.table, made.records(), stream)
            part.replace(file) if force else part.become(file)
    except FileExistsError:
        raise _taken(file) from None
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", file) from error
    return count


def _taken(file: str) -> OutputError:
    return OutputError("there is a file of that name already", file, hint="--force replaces it")
