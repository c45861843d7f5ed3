"""What the commands of `facecli people` share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from facecli.cli.choices import Checked
from facecli.config import LARGEST_FACE_ID, whole_number
from facecli.errors import UsageError, quoted

if TYPE_CHECKING:
    from facecli.cli.options import Common
    from facecli.naming.album import IndexPeople


def album_of(common: Common) -> IndexPeople:
    """The people of the index that a command or the group in front of it names."""
    from facecli.naming.album import IndexPeople  # noqa: PLC0415 (not for --help)
    from facecli.store.locate import find_index  # noqa: PLC0415

    above = click.get_current_context().parent
    named = common.index or (above.params.get("index") if above is not None else None)
    return IndexPeople(find_index(named, os.getcwd()), common.console())


def read_face_id(text: str) -> int:
    """The id of `face:ID`; raises UsageError on anything else."""
    face_id = whole_number(text.removeprefix("face:"), LARGEST_FACE_ID) if text.startswith("face:") else None
    if not face_id:
        raise UsageError("not a face of the index", quoted(text), hint="face:12; facecli people --faces lists them")
    return face_id


FACE_ID = Checked("face:ID", read_face_id)
