"""An export in a file: its format, and the file that appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from facecli.errors import OutputError, UsageError, check_name, quoted
from facecli.exports import ExportTable
from facecli.output.export.formats import ExportFormat, write_export
from facecli.output.placing import refuse_index, refuse_other_kinds
from facecli.whole_files import Part, clear_parts


def choose_export_format(named: str | None, file: str) -> ExportFormat:
    """The format, by its name or by the ending of the file; raises UsageError where there is no such format."""
    ending = os.path.splitext(check_name(file, "FILE"))[1].removeprefix(".").lower()
    known = {"": "jsonl", "ndjson": "jsonl", "json": "jsonl"} | {form.value: form.value for form in ExportFormat}
    formats = ", ".join(ExportFormat)
    try:
        return ExportFormat(named or known[ending])
    except KeyError:
        hint = f"end it in {formats}, or name one with --format"
        raise UsageError(f"no format of an export ends in .{ending}", quoted(file), hint=hint) from None
    except ValueError:
        raise UsageError("no format of an export", quoted(named), hint=formats) from None


def write_export_file(
    form: ExportFormat, table: ExportTable, records: Iterable[Any], file: str, *, force: bool = False
) -> int:
    """Write an export to a file, which gets its name when it is whole; returns the number of records.

    Raises OutputError where the file cannot be written, or is there already and `force` is not given.
    """
    refuse_index(file)
    refuse_other_kinds(file)
    folder = os.path.dirname(os.path.abspath(file))
    if not os.path.isdir(folder):
        raise OutputError("there is no such directory", folder)
    if not force and os.path.lexists(file):
        raise _taken(file)
    try:
        clear_parts(folder)
        with Part(folder) as part:
            with part.open() as stream:
                count = write_export(form, table, records, stream)
            part.replace(file) if force else part.become(file)
    except FileExistsError:
        raise _taken(file) from None
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", file) from error
    return count


def _taken(file: str) -> OutputError:
    return OutputError("there is a file of that name already", file, hint="--force replaces it")
