"""`facecli export`: write faces or photos to a file for other programs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from facecli.cli.completing import complete_people
from facecli.cli.limiting import limit_options, tell_left_out
from facecli.cli.names import Name
from facecli.cli.options import Common, ExampleCommand, common_options
from facecli.cli.streaming import is_stdout, opened_stream, takes_stream
from facecli.cli.streams import results
from facecli.errors import UsageError
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
facecli export --xmp                               the names of faces beside the photos
"""
SOME_FAILED = 3


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.argument("file", metavar="[FILE|-]", required=False, type=Name())
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "npz", "parquet"]),
    help="The format; default by the ending of FILE, jsonl without one.",
)
@click.option("--photos", is_flag=True, help="One record per photo instead of per face.")
@click.option(
    "--person", metavar="P", shell_complete=complete_people, help="Only the faces of a person, by id or name."
)
@click.option("--no-embeddings", is_flag=True, help="Leave out the embeddings.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--xmp", is_flag=True, help="Write the names of faces beside the photos, as photo.jpg.xmp.")
@click.option("--into-photos", is_flag=True, help="With --xmp: write into the photos, which changes them.")
@click.option("--dry-run", is_flag=True, help="With --xmp: print what would be written.")
@limit_options
@common_options
def export(common: Common, file: str | None, **given: Any) -> int:
    """Write faces or photos to a file for other programs; - is stdout.

    FILE is readable by its owner only, and appears when it is complete. With --xmp, names go into sidecars, which photo
    managers read: MWG regions, Microsoft's regions, and IPTC's names of those in the picture. Exit code 0: done, 2:
    error, 3: some sidecars were left as they are.
    """
    from facecli.exporting import Export, ExportRequest  # noqa: PLC0415 (not for --help)
    from facecli.limits import read_limits  # noqa: PLC0415
    from facecli.store.locate import find_index  # noqa: PLC0415
    from facecli.store.reader import open_reader  # noqa: PLC0415

    if given["xmp"]:
        return _write_sidecars(common, file, given)
    if file is None:
        raise UsageError("no file to write", "facecli export", hint="name one, - for stdout, or use --xmp")
    for option in ("into_photos", "dry_run"):
        if given[option]:
            raise UsageError("needs --xmp", f"--{option.replace('_', '-')}")
    form = _format(given["form"], file)
    limits = read_limits(given["under"], given["after"], given["before"], given["near"])
    request = ExportRequest(given["photos"], given["person"], limits, not given["no_embeddings"])
    console = common.console()
    with open_reader(find_index(common.index, os.getcwd())) as reader:
        made = Export(reader, request)
        if limits:
            tell_left_out(reader.select(limits), console)
        count = _write(made, form, file, force=given["force"])
    if count is not None:
        what = counted(count, "photo" if request.photos else "face")
        console.warn(f"wrote {what}" + ("" if is_stdout(file) else f" to {file}"))
    return 0


def _write_sidecars(common: Common, file: str | None, given: dict[str, Any]) -> int:
    """Write names beside or into the photos; returns the exit code."""
    from facecli.limits import read_limits  # noqa: PLC0415 (not for --help)
    from facecli.naming.album import IndexPeople  # noqa: PLC0415
    from facecli.sidecars import SidecarWriter  # noqa: PLC0415
    from facecli.store.locate import find_index  # noqa: PLC0415
    from facecli.store.reader import open_reader  # noqa: PLC0415

    if file is not None or given["photos"] or given["form"]:
        raise UsageError("sidecars stand beside the photos", "--xmp", hint="facecli export --xmp")
    limits = read_limits(given["under"], given["after"], given["before"], given["near"])
    directory, console = find_index(common.index, os.getcwd()), common.console()
    IndexPeople(directory, console).refresh()
    with open_reader(directory) as reader:
        person = given["person"]
        person_id = None if person is None else reader.people.find(person.removeprefix("person:"))
        writer = SidecarWriter(reader, console, dry_run=given["dry_run"], into=given["into_photos"])
        if given["into_photos"] and not given["dry_run"]:
            console.warn("photos that get names change, so that the next facecli index reads them again")
        done = writer.write(limits, person_id)
    verb = "would be written" if given["dry_run"] else "written"
    said = f"{counted(done.written, 'sidecar')} {verb}, {done.merged} merged, {done.unchanged} as they were"
    console.warn(f"{said}, {done.failed} left out" if done.failed else said)
    if not (done.written or done.merged or done.unchanged or done.failed):
        console.warn("no face in these photos has a name: facecli people name gives one")
    return SOME_FAILED if done.failed else 0


def _format(named: str | None, file: str) -> ExportFormat:
    """The format; raises UsageError if stdout cannot take it."""
    from facecli.output.export.files import choose_export_format  # noqa: PLC0415 (not for --help)

    form = choose_export_format(named, file)
    if takes_stream(file) and not form.is_stream:
        raise UsageError(f"{form} cannot be written to a pipe", file, hint="name a file, or use --format jsonl")
    return form


def _write(made: Export, form: ExportFormat, file: str, *, force: bool) -> int | None:
    """Write the export; returns the number of records, None where the reader of a pipe has closed it."""
    from facecli.output.export.files import write_export_file  # noqa: PLC0415 (not for --help)
    from facecli.output.export.formats import write_export  # noqa: PLC0415

    if not takes_stream(file):
        return write_export_file(form, made.table, made.records(), file, force=force)
    with results() if is_stdout(file) else opened_stream(file) as out:
        count = write_export(form, made.table, made.records(), out)
        out.flush()
        return count
    return None
