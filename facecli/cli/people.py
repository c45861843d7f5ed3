"""`facecli people`: list the people of an index; its commands decide about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from facecli.cli.choices import number
from facecli.cli.command_first import HelpedGroup
from facecli.cli.context import path_style
from facecli.cli.limiting import limit_options, tell_left_out
from facecli.cli.names import Name
from facecli.cli.options import Common, common_options
from facecli.cli.people_decisions import DECISIONS
from facecli.cli.people_options import album_of
from facecli.cli.printing import choose_format, format_options, list_writer
from facecli.cli.streams import results
from facecli.errors import UsageError
from facecli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from facecli.naming.listing import Choice
    from facecli.persons import PersonInfo
    from facecli.store.people.reading import StoredPeople

EPILOG = """\b
Examples:
  facecli people                       the people with three photos or more
  facecli people --after 2004-07 --before 2004-09
  facecli people --html people.html    a page with their faces; names can be given there
  facecli people name 12 Anna          give person 12 a name
  facecli search Anna                  her photos
  facecli people merge Anna 31         person 31 is Anna, too
  facecli people not Anna face:812     this is not Anna, and never will be
  facecli people undo                  take the last decision back
"""


class PeopleArguments(Struct, frozen=True):
    """The parsed arguments."""

    named: bool
    unnamed: bool
    hidden: bool
    every: bool
    min_photos: int | None
    json: bool
    faces: bool
    html: str | None
    threshold: float | None
    under: tuple[str, ...]
    after: str | None
    before: str | None
    near: str | None


@click.group(cls=HelpedGroup, invoke_without_command=True, epilog=EPILOG)
@click.option("--named", is_flag=True, help="List people with a name, whatever the number of their photos.")
@click.option("--unnamed", is_flag=True, help="List people without a name.")
@click.option("--hidden", is_flag=True, help="List hidden people.")
@click.option("--all", "every", is_flag=True, help="List everybody.")
@click.option(
    "--min-photos",
    metavar="N",
    type=number("min_photos"),
    help="Leave out people with fewer photos; default 3 for people without a name.",
)
@format_options("json")
@click.option("--faces", is_flag=True, help="Print one line per face.")
@click.option(
    "--html",
    metavar="FILE",
    type=Name(dir_okay=False),
    help="Write a page with the people's faces, to name them offline; facecli people apply takes what it saves.",
)
@click.option(
    "--threshold",
    metavar="X",
    type=number("link"),
    help="Group with this similarity from now on; needed for a model that is not calibrated.",
)
@limit_options
@common_options
@click.pass_context
def people(context: click.Context, /, common: Common, **given: Any) -> None:
    """Sort the faces of an index into people, list them, and name them.

    Two faces of one photo are never one person. PERSON is an id or a name. Prints a table on a terminal, tab-separated
    rows in a pipe: person, name, faces, photos, cohesion (the mean similarity of the person's faces), cover; with
    --faces: person, name, similarity, path, face, box, and auto or user for who put the face there. What is decided
    is kept through every later run; undo takes it back.
    """
    if context.invoked_subcommand is None:
        _People(common, PeopleArguments(**given)).run()


for decision in DECISIONS:
    people.add_command(decision)


class _People:
    """One run of the list."""

    def __init__(self, common: Common, request: PeopleArguments) -> None:
        self.common, self.request = common, request
        self.console = common.console()

    def run(self) -> None:
        from facecli.cli.people_page import PeoplePage  # noqa: PLC0415 (not for --help)
        from facecli.limits import read_limits  # noqa: PLC0415
        from facecli.naming.listing import list_people  # noqa: PLC0415
        from facecli.store.reader import open_reader  # noqa: PLC0415

        choice, asked = self._choice(), self.request
        limits = read_limits(asked.under, asked.after, asked.before, asked.near)
        page = PeoplePage(self.request.html, self.common, self.console) if self.request.html is not None else None
        album = album_of(self.common)
        if self.request.threshold is not None:
            album.update(self.request.threshold)
        else:
            album.refresh()
        with open_reader(album.directory) as reader:
            shown = reader.people_within(limits) if limits else reader.people
            if limits:
                tell_left_out(reader.select(limits), self.console)
            found = list_people(reader.people, choice, shown if limits else None)
            if page is None or not page.takes_stdout:
                self._write(shown, found, lasting=page is not None)
            if page is not None:
                page.make(reader, found, shown)
            self._sum_up(shown.counts().keys() if limits else shown.ids(), found)

    def _choice(self) -> Choice:
        from facecli.naming.listing import Choice, Which  # noqa: PLC0415

        asked = self.request
        flags = {"--named": asked.named, "--unnamed": asked.unnamed, "--hidden": asked.hidden, "--all": asked.every}
        given = [flag for flag, is_given in flags.items() if is_given]
        if len(given) > 1:
            raise UsageError("only one kind of people can be listed", " ".join(given), hint="--all lists everybody")
        return Choice(Which(given[0][2:]) if given else Which.SHOWN, asked.min_photos)

    def _write(self, stored: StoredPeople, found: list[PersonInfo], *, lasting: bool) -> None:
        from facecli.naming.listing import faces_of  # noqa: PLC0415
        from facecli.output.people_rows import PeopleLayout, PersonFaceLayout  # noqa: PLC0415

        form = choose_format({"json": self.request.json})
        with results(lasting=lasting) as out:
            if self.request.faces:
                faces = list_writer(form, out, PersonFaceLayout(path_style(self.common)), self.common)
                faces.begin()
                faces.write(faces_of(stored, found))
                faces.end()
            else:
                people = list_writer(form, out, PeopleLayout(), self.common)
                people.begin()
                people.write(found)
                people.end()

    def _sum_up(self, everybody: AbstractSet[int], found: list[PersonInfo]) -> None:
        """Tell how many people there are beside those of the list; in detail where the list was chosen."""
        from facecli.naming.listing import FEW_PHOTOS  # noqa: PLC0415 (not for --help)

        others, asked = len(everybody - {person.person_id for person in found}), self.request
        if not found:
            self.console.warn(f"nobody to list among {counted(others, 'person')}; facecli people --all lists everybody")
        elif others and (asked.named or asked.unnamed or asked.hidden or asked.min_photos is not None):
            self.console.detail(f"{counted(others, 'further person')} not listed; facecli people --all lists everybody")
        elif others:
            which = f"hidden or in fewer than {FEW_PHOTOS} photos"
            self.console.warn(f"{counted(others, 'further person')}, {which}: facecli people --all")
