"""The commands of `facecli people` that decide: names, merges, faces that are not somebody's, and sheets of them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from facecli.cli.choices import number
from facecli.cli.completing import complete_people
from facecli.cli.names import Name
from facecli.cli.options import Common, common_options
from facecli.cli.people_options import FACE_ID, album_of
from facecli.cli.printing import choose_format, format_options, list_writer
from facecli.cli.streaming import is_stdout, takes_stream, write_into
from facecli.cli.streams import results
from facecli.errors import OutputError, UsageError
from facecli.wording import counted

if TYPE_CHECKING:
    from facecli.naming.editing import Change
    from facecli.naming.sheets import Applied

SOME_LEFT_OUT = 3
FORCE = click.option("--force", is_flag=True, help="Allow two faces of one photo, as in mirrors and collages.")


def _tell(common: Common, message: str) -> None:
    common.console().warn(message)


def _called(person: str) -> str:
    """What a message calls a person that was given by id or name."""
    return f"person {person}" if person.isdecimal() else person


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would change, change nothing.")
@click.option("--threshold", metavar="X", type=number("link"), help="Group with this similarity from now on.")
@common_options
def update(common: Common, *, dry_run: bool, threshold: float | None) -> None:
    """Bring the groups up to date; lists and searches for people do it by themselves."""
    change = album_of(common).update(threshold, dry_run=dry_run)
    _tell(common, ("would be: " if dry_run else "") + _described(change))


def _described(change: Change) -> str:
    return (
        f"{counted(change.people, 'person')}, {change.new} new, {change.gone} gone; "
        f"{counted(change.faces, 'face')} moved"
    )


@click.command("name")
@click.argument("person", metavar="PERSON", shell_complete=complete_people)
@click.argument("name", metavar="NAME")
@common_options
def name_command(common: Common, person: str, name: str) -> None:
    """Name a person; a name that is taken asks for merge."""
    found = album_of(common).name(person, name)
    _tell(common, f"person {found} is {name}")


@click.command()
@click.argument("people", metavar="PERSON PERSON...", nargs=-1, required=True, shell_complete=complete_people)
@FORCE
@common_options
def merge(common: Common, people: tuple[str, ...], *, force: bool) -> None:
    """Make several people one, who keeps the id and the name of the first."""
    if len(people) < 2:
        raise UsageError("a merge needs two people", " ".join(people), hint="facecli people merge Anna 31")
    found = album_of(common).merge(*people, force=force)
    _tell(common, f"merged into person {found}; facecli people undo takes it back")


@click.command()
@click.argument("person", metavar="PERSON", shell_complete=complete_people)
@click.argument("faces", metavar="face:ID...", nargs=-1, required=True, type=FACE_ID)
@common_options
def split(common: Common, person: str, faces: tuple[int, ...]) -> None:
    """Make some faces of a person a new person."""
    found = album_of(common).split(person, faces)
    _tell(common, f"{counted(len(faces), 'face')} of {_called(person)} became person {found}")


@click.command("not")
@click.argument("person", metavar="PERSON", shell_complete=complete_people)
@click.argument("faces", metavar="face:ID...", nargs=-1, required=True, type=FACE_ID)
@common_options
def not_command(common: Common, person: str, faces: tuple[int, ...]) -> None:
    """Say that faces are not this person's; they never come back to it."""
    album_of(common).reject(person, faces)
    _tell(common, f"{counted(len(faces), 'face')} will not be of {_called(person)} again")


@click.command()
@click.argument("name", metavar="NAME")
@click.argument("faces", metavar="face:ID...", nargs=-1, required=True, type=FACE_ID)
@FORCE
@common_options
def assign(common: Common, name: str, faces: tuple[int, ...], *, force: bool) -> None:
    """Say that faces are a person's; an unknown name makes a new person."""
    found = album_of(common).assign(name, faces, force=force)
    _tell(common, f"{counted(len(faces), 'face')} of {name} now, person {found}")


@click.command()
@click.argument("person", metavar="PERSON", shell_complete=complete_people)
@common_options
def hide(common: Common, person: str) -> None:
    """Leave a person out of lists and pages; a search for it still answers."""
    album_of(common).hide(person)
    _tell(common, f"{_called(person)} is hidden; facecli people --hidden lists hidden people")


@click.command()
@click.argument("person", metavar="PERSON", shell_complete=complete_people)
@common_options
def show(common: Common, person: str) -> None:
    """List a hidden person again."""
    album_of(common).show(person)
    _tell(common, f"{_called(person)} is listed again")


@click.command()
@click.argument("person", metavar="PERSON", shell_complete=complete_people)
@click.argument("face", metavar="face:ID", type=FACE_ID)
@common_options
def cover(common: Common, person: str, face: int) -> None:
    """Choose the face that stands for a person."""
    album_of(common).set_cover(person, face)
    _tell(common, f"face:{face} stands for {_called(person)}")


@click.command()
@common_options
def undo(common: Common) -> None:
    """Take back the last command that decided something; again takes back the one before."""
    _tell(common, f"taken back: {', '.join(album_of(common).undo())}")


@click.command()
@format_options("json")
@common_options
def suggest(common: Common, *, json: bool) -> None:
    """List pairs of people who may be one; nothing is merged without you.

    One row per pair: similarity, person, name, person, name.
    """
    from facecli.output.people_rows import AlikeLayout  # noqa: PLC0415 (not for --help)

    found = album_of(common).suggestions()
    with results() as out:
        writer = list_writer(choose_format({"json": json}), out, AlikeLayout(), common)
        writer.begin()
        writer.write(found)
        writer.end()
    if not found:
        _tell(common, "no two people are so similar that they may be one")


@click.command()
@click.argument("name", metavar="NAME")
@common_options
def forget(common: Common, name: str) -> None:
    """Erase a name and all decisions about its person from every file of the index.

    The faces stay, as a person without a name. This cannot be undone.
    """
    count = album_of(common).forget(name)
    _tell(common, f"{name} is forgotten, with {counted(count, 'decision')}")


@click.command()
@click.argument("file", metavar="FILE|-", type=Name(dir_okay=False))
@click.option("--force", is_flag=True, help="Replace an existing file.")
@common_options
def export(common: Common, file: str, *, force: bool) -> None:
    """Write all people with their names and faces as JSON Lines, for apply."""
    from facecli.output.records import json_line  # noqa: PLC0415 (not for --help)

    if not takes_stream(file) and os.path.lexists(file) and not force:
        raise OutputError("the file exists", file, hint="--force replaces it")
    lines = [json_line(record) for record in album_of(common).export()]
    if not takes_stream(file):
        from facecli.output.placing import replace_file  # noqa: PLC0415

        replace_file(file, lines)
        return
    if not is_stdout(file):
        write_into(file, lines)
        return
    with results() as out:
        for line in lines:
            out.write(line)


@click.command()
@click.argument("file", metavar="FILE|-", type=Name(dir_okay=False))
@common_options
def apply(common: Common, file: str) -> int:
    """Make the decisions of a sheet that export or the page wrote.

    Lines may be older than the index: what no longer applies is printed, the rest is done, with exit code 3. Two lines
    with one name become one person. One undo takes all of it back.
    """
    from facecli.naming.sheets import read_sheet  # noqa: PLC0415 (not for --help)

    try:
        if file == "-":
            lines = read_sheet(sys.stdin.buffer, "stdin")
        else:
            with open(file, "rb") as stream:
                lines = read_sheet(stream, file)
    except OSError as error:
        raise UsageError(f"the sheet cannot be read ({error.strerror})", file) from error
    done = album_of(common).apply(lines)
    for complaint in done.complaints:
        _tell(common, f"left out: {complaint}")
    _tell_renamed(common, done)
    _tell(common, f"{counted(done.people, 'person')} changed")
    return SOME_LEFT_OUT if done.complaints else 0


def _tell_renamed(common: Common, done: Applied) -> None:
    for before, now in done.renamed:
        said = f"{before} is {now} now" if now else f"{before} has no name now"
        _tell(common, f"{said}; facecli people undo takes all of it back")


@click.command("import")
@click.option("--xmp", is_flag=True, required=True, help="Read the regions in photos, photo.jpg.xmp and photo.xmp.")
@common_options
def import_command(common: Common, *, xmp: bool) -> int:  # noqa: ARG001 (the only source so far)
    """Take names from photos and the sidecars of other programs, for the faces at their regions."""
    from facecli.sidecars import names_beside  # noqa: PLC0415 (not for --help)
    from facecli.store.reader import open_reader  # noqa: PLC0415

    album, left = album_of(common), list[str]()
    album.refresh()
    with open_reader(album.directory) as reader:
        found = names_beside(reader, left.append)
    done = album.apply_sightings(found)
    for complaint in (*left, *(f"left out: {one}" for one in done.complaints)):
        _tell(common, complaint)
    _tell_renamed(common, done)
    _tell(common, f"{counted(len(found), 'name')} found, {counted(done.people, 'person')} changed")
    return SOME_LEFT_OUT if left or done.complaints else 0


DECISIONS = (
    update,
    name_command,
    merge,
    split,
    not_command,
    assign,
    hide,
    show,
    cover,
    undo,
    suggest,
    forget,
    export,
    apply,
    import_command,
)
