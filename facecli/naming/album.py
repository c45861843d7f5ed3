"""The people of an index, for scripts and for the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from facecli.config import BOUNDS, WAIT_READERS
from facecli.errors import FacecliError, IndexLocked, StoreError, UsageError, quoted
from facecli.naming.editing import Change, PeopleEditor
from facecli.naming.listing import Choice, list_people, list_suggestions
from facecli.naming.sheets import Applied, SheetLine, apply_sheet, foreign_lines, sheet_records
from facecli.naming.sightings import apply_sightings
from facecli.naming.updating import Wish, is_stale
from facecli.persons import AlikePeople, PersonFace, PersonInfo
from facecli.reporting import Reporter, SilentReporter
from facecli.store.people.records import DecisionKind
from facecli.store.reader import IndexReader, open_reader
from facecli.store.writer import IndexWriter, open_writer
from facecli.types import JsonValue
from facecli.wording import counted

Edited = TypeVar("Edited")
Asked = int | np.integer[Any] | str
"""A person, by id or name."""
FaceIds = Iterable[int | np.integer[Any]]
"""Faces, by their ids."""


SHARE = 0.1
"""The share of an index run's time that bringing the groups up to date may add to it."""
UNNOTICED_SECONDS = 0.1
"""What it may add however short the run was, so that the first photos of an index are sorted at once."""
START_SECONDS, FACE_SECONDS, PAIR_SECONDS = 0.05, 1.6e-4, 2e-8
"""What that takes: a constant, for each face, and for each pair of a new face and any face.

Rounded up from processor time on an x86 core: 1.1e-4 for each of 10,000 faces, 1.6e-4 for each of 100,000; for a pair
3e-9 to 6e-9 with VNNI, 1.5e-8 to 2e-8 without.
"""


def refresh_after_run(directory: Path, seconds: float, report: Reporter) -> None:
    """Bring the groups up to date after an index run, if that takes under a tenth of its time or is not noticed."""
    with open_reader(directory) as reader:
        faces = reader.info.faces
        expected = START_SECONDS + faces * (FACE_SECONDS + reader.people.newer_faces() * PAIR_SECONDS)
        if not faces or expected > max(SHARE * seconds, UNNOTICED_SECONDS) or not is_stale(reader.people):
            return
    try:
        IndexPeople(directory, report).refresh()
    except (StoreError, UsageError) as error:
        report.detail(f"the groups of people are not brought up to date: {error}")


@contextmanager
def open_with_people(directory: Path, asks: Callable[[IndexReader], bool], report: Reporter) -> Generator[IndexReader]:
    """Open an index for reading; the groups are brought up to date first where `asks` says that they are needed."""
    with open_reader(directory) as reader:
        stale = asks(reader) and is_stale(reader.people)
        if not stale:
            yield reader
    if stale:
        IndexPeople(directory, report).refresh()
        with open_reader(directory) as reader:
            yield reader


MOST_TOLD = 20
"""The lines about one merged index; it may be anybody's."""


def adopt_all(directory: Path, others: Iterable[str], report: Reporter) -> None:
    """Take over what was decided about people in indexes that were merged; what cannot be is told."""
    for other in others:
        try:
            done = IndexPeople(directory, report).adopt(Path(other))
        except FacecliError as error:
            report.warn(f"what was decided about people in {other} is not taken over: {error}")
            continue
        for complaint in done.complaints[:MOST_TOLD]:
            report.warn(f"about people in {other}: {complaint}")
        if len(done.complaints) > MOST_TOLD:
            report.warn(
                f"about people in {other}: {counted(len(done.complaints) - MOST_TOLD, 'more line')} of this kind"
            )
        report.detail(f"{counted(done.people, 'person')} changed by what was decided in {other}")


UNDONE = {
    DecisionKind.NAME: "the name of person",
    DecisionKind.HIDE: "the hiding of person",
    DecisionKind.SHOW: "the showing of person",
    DecisionKind.COVER: "the cover of person",
    DecisionKind.JOIN: "the merge into person",
    DecisionKind.PLACE: "faces given to person",
    DecisionKind.REJECT: "faces refused to person",
}
"""What each kind of decision is called when it is taken back."""


class IndexPeople:
    """The people of an index.

    A person is given by id or name, a face by its id. Every change is stored as a whole, with the groups that follow
    from it, and can be undone. Raises StoreError where the index has no faces or cannot be written, QueryError on
    unknown people and faces, UsageError on what cannot be decided.
    """

    def __init__(self, directory: Path, report: Reporter | None = None, *, wait_seconds: float = 0.0) -> None:
        self.directory = directory
        self._report, self._wait = report or SilentReporter(), wait_seconds

    # lists; they bring the groups up to date first

    def refresh(self) -> None:
        """Bring the groups up to date where the index can be written, else report how many faces came since."""
        with open_reader(self.directory) as reader:
            if not is_stale(reader.people):
                return
            newer = reader.people.newer_faces()
        try:
            self._edit(PeopleEditor.save)
        except StoreError as error:
            if not self._may_be_behind(error):
                raise
            self._report.warn(f"people are as they were {counted(newer, 'face')} ago: {error}")

    def listed(self, choice: Choice | None = None) -> list[PersonInfo]:
        """The people that are asked for, by falling number of faces."""
        if not isinstance(choice, Choice | None):
            raise UsageError("people are chosen by a facecli.Choice", quoted(choice))
        self.refresh()
        with open_reader(self.directory) as reader:
            return list_people(reader.people, choice)

    def faces(self, person: Asked) -> list[PersonFace]:
        """The faces of a person, the most similar to the mean of them first."""
        self.refresh()
        with open_reader(self.directory) as reader:
            return reader.people.faces([reader.people.find(_asked(person))])

    def suggestions(self) -> list[AlikePeople]:
        """Pairs of people who may be one, the most similar first."""
        self.refresh()
        with open_reader(self.directory) as reader:
            return list_suggestions(reader.people)

    def export(self) -> list[dict[str, JsonValue]]:
        """The records of a sheet, one a person."""
        self.refresh()
        with open_reader(self.directory) as reader:
            return list(sheet_records(reader.people))

    # changes

    def update(self, threshold: float | None = None, *, dry_run: bool = False) -> Change:
        """Group all faces anew where anything changed, or with another threshold; returns what changes."""
        if threshold is not None and not BOUNDS["link"].hold(threshold):
            raise UsageError(f"the threshold of a group is {BOUNDS['link']}", quoted(threshold))
        wish = Wish(None if threshold is None else float(threshold))
        if dry_run:
            with open_reader(self.directory) as reader:
                return PeopleEditor(reader.people, self._report, wish).change

        def save(editor: PeopleEditor) -> Change:
            editor.save()
            return editor.change

        return self._edit(save, wish)

    def name(self, person: Asked, name: str) -> int:
        """Name a person; returns the id. Raises UsageError where another person has the name."""

        def decide(editor: PeopleEditor) -> int:
            found = editor.find(_asked(person))
            editor.name(found, name)
            return found

        return self._edit(decide)

    def merge(self, *people: Asked, force: bool = False) -> int:
        """Make several people one, who keeps the first one's id and name; returns the id.

        Raises UsageError where they are in one photo, unless `force`.
        """
        return self._edit(lambda editor: editor.merge([editor.find(_asked(one)) for one in people], force=force))

    def split(self, person: Asked, faces: FaceIds) -> int:
        """Make some faces of a person a new person; returns its id."""
        ids = _ids(faces)
        return self._edit(lambda editor: editor.split(editor.find(_asked(person)), ids))

    def reject(self, person: Asked, faces: FaceIds) -> None:
        """Decide that faces are not this person's, for ever."""
        ids = _ids(faces)
        self._edit(lambda editor: editor.reject(editor.find(_asked(person)), ids))

    def assign(self, person: Asked, faces: FaceIds, *, force: bool = False) -> int:
        """Decide that faces are a person's; an unknown name makes a new person. Returns the id.

        Raises UsageError where two of the person's faces would be in one photo, unless `force`.
        """
        ids = _ids(faces)
        return self._edit(lambda editor: editor.assign(_asked(person), ids, force=force))

    def hide(self, person: Asked) -> None:
        """Leave a person out of lists."""
        self._edit(lambda editor: editor.set_hidden(editor.find(_asked(person)), hidden=True))

    def show(self, person: Asked) -> None:
        """List a hidden person again."""
        self._edit(lambda editor: editor.set_hidden(editor.find(_asked(person)), hidden=False))

    def set_cover(self, person: Asked, face: int | np.integer[Any]) -> None:
        """Choose the face that stands for a person."""
        (cover,) = _ids([face])
        self._edit(lambda editor: editor.set_cover(editor.find(_asked(person)), cover))

    def undo(self) -> list[str]:
        """Take back the last command; returns what it decided, in words."""
        taken = self._edit(PeopleEditor.undo)
        told = [f"{UNDONE[one.kind]} {one.person_id}" for one in taken if one.kind in UNDONE]
        # Of a step about faces that were removed, only the faces that the person kept may be left.
        return list(dict.fromkeys(told or [f"the faces kept by person {one.person_id}" for one in taken]))

    def forget(self, name: str) -> int:
        """Erase a name and all decisions about its person from every file; returns the number of decisions."""
        return self._edit(lambda editor: editor.forget(_asked(name)))

    def apply(self, lines: Iterable[SheetLine]) -> Applied:
        """Make the decisions of a sheet, as one step; what no longer applies is in the answer."""
        return self._edit(lambda editor: apply_sheet(editor, lines))

    def apply_sightings(self, seen: Mapping[str, Sequence[int]]) -> Applied:
        """Name people by the faces at which names were seen, as one step; what cannot be is in the answer."""
        return self._edit(lambda editor: apply_sightings(editor, seen))

    def adopt(self, other: Path) -> Applied:
        """Take over names and other decisions about people of another index, where its faces are in this one.

        As one step; what was decided here stays. A second time changes nothing.
        """
        with open_reader(other) as reader:
            keys, records = reader.people.keys(), list(sheet_records(reader.people))
        return self._edit(lambda editor: apply_sheet(editor, foreign_lines(editor, records, keys), yields=True))

    def _edit(self, work: Callable[[PeopleEditor], Edited], wish: Wish | None = None) -> Edited:
        with self._open() as writer:
            done = work(PeopleEditor(writer.people, self._report, wish))
            if writer.info.pending and not writer.finish(WAIT_READERS).erased:
                raise StoreError(
                    "done, but another process is reading the index, so the erasure is not finished",
                    self.directory,
                    hint="the next index, remove or check --repair finishes it",
                )
        return done

    def _open(self) -> IndexWriter:
        try:
            return open_writer(self.directory, wait_seconds=self._wait)
        except IndexLocked as error:
            raise IndexLocked(error.what, error.where, hint="try it again when that process has ended") from error

    def _may_be_behind(self, error: StoreError) -> bool:
        """Whether an index cannot be written just now, or by this user."""
        return isinstance(error, IndexLocked) or not os.access(self.directory, os.W_OK)


def _asked(person: Asked) -> str:
    """A person as typed; raises UsageError on what is neither an id nor a name."""
    if not isinstance(person, Integral | str) or isinstance(person, bool):
        raise UsageError("a person is an id or a name", quoted(person))
    return quoted(person) if isinstance(person, Integral) else person


def _ids(faces: FaceIds) -> list[int]:
    """Ids of faces; raises UsageError on anything else, such as a text, whose digits would be ids."""
    ids = list(faces) if isinstance(faces, Iterable) and not isinstance(faces, str | bytes) else [faces]
    for face in ids:
        if not isinstance(face, Integral) or isinstance(face, bool):
            raise UsageError("faces are given by their ids", quoted(face))
    return list(map(int, ids))
