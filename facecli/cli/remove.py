"""`facecli remove`: remove photos and faces from an index permanently."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from facecli.cli.asking import agrees, can_ask
from facecli.cli.choices import number
from facecli.cli.context import path_style
from facecli.cli.names import Name
from facecli.cli.options import Common, ExampleCommand, common_options
from facecli.cli.streams import results
from facecli.config import LARGEST_FACE_ID, WAIT_READERS, whole_number
from facecli.directories import absolute
from facecli.errors import StoreError, UsageError, quoted
from facecli.wording import counted

if TYPE_CHECKING:
    from facecli.store.records import Removal
    from facecli.store.writer import IndexWriter

MANY = 20
"""Photos up to which a removal does not ask."""
REFUSED = 1
FORGOTTEN = "forgotten; the next index run adds these photos and faces again"
EXAMPLES = """
facecli remove album/party/a.jpg     a photo, with all copies of it
facecli remove album/party           every photo below a directory
facecli remove face:12               one face
facecli search -0 -k 0 --missing Anna | xargs -0 -r facecli remove --dry-run    the photos of a person
facecli remove --missing             photos whose files are gone
facecli remove --root old-album      a directory that is gone, or that should no longer be indexed
facecli remove --forget a.jpg        let the next index run add a removed photo again
facecli remove --forget-all          the same for everything that was removed
"""


class RemoveArguments(Struct, frozen=True):
    """The parsed arguments."""

    targets: tuple[str, ...]
    missing: bool
    root: str | None
    forget: bool
    forget_all: bool
    yes: bool
    dry_run: bool
    wait: float


class Targets(Struct, frozen=True):
    """The named photos, directories and faces."""

    named: tuple[str, ...]
    paths: tuple[str, ...]
    faces: tuple[int, ...]


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.argument("targets", metavar="[PATH|face:ID]...", nargs=-1, type=Name())
@click.option("--missing", is_flag=True, help="Drop the photos whose files are gone; later runs may add them again.")
@click.option(
    "--root",
    metavar="DIR",
    type=Name(),
    help="Drop an indexed directory with the photos that are below no other; later runs may add it again.",
)
@click.option("--forget", is_flag=True, help="Let the next index run add what was removed earlier.")
@click.option("--forget-all", is_flag=True, help="The same for everything removed earlier; asks on a terminal.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; on a terminal, more than 20 photos ask.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, change nothing.")
@click.option(
    "--wait", metavar="SECONDS", type=number("wait_seconds"), default=0.0, help="Seconds to wait for another writer."
)
@common_options
def remove(common: Common, **given: Any) -> int:
    """Remove photos or faces from an index permanently; the photos themselves stay.

    No file of the index contains their paths and embeddings afterwards, and later index runs do not add them again
    until --forget allows it. If one target is not in the index, nothing is removed. Prints one line per photo or face:
    path, kind (photo, copy, face, skipped), and number of faces or face id. Exit code 0: done, 1: the answer was no,
    2: error.
    """
    request = RemoveArguments(**given)
    chosen = _read_targets(request.targets)
    modes = {"--missing": request.missing, "--root": request.root is not None, "--forget-all": request.forget_all}
    alone = [option for option, chosen_it in modes.items() if chosen_it]
    if alone and (request.targets or request.forget or len(alone) > 1):
        raise UsageError(
            f"{alone[0]} cannot be combined with targets or other modes", "facecli remove", hint="facecli remove --help"
        )
    if not alone and not request.targets:
        raise UsageError(
            "no photo, directory or face to remove",
            "facecli remove",
            hint="--forget PATH, or --forget-all"
            if request.forget
            else "name photos, directories or face:ID, or use --missing or --root",
        )
    command = _Remove(common, request)
    if request.missing:
        command.drop_missing()
    elif request.root is not None:
        command.drop_root(absolute(request.root))
    elif request.forget:
        command.let_back(chosen)
    else:
        return command.let_all_back() if request.forget_all else command.take_out(chosen)
    return 0


def _read_targets(targets: tuple[str, ...]) -> Targets:
    """Split the targets into faces and paths."""
    faces = [target.removeprefix("face:") for target in targets if target.startswith("face:")]
    numbers = []
    for named in faces:
        face_id = whole_number(named, LARGEST_FACE_ID)
        if face_id is None:
            raise UsageError(
                "not the number of a face",
                quoted(f"face:{named}"),
                hint="face:12; for a file of that name write ./face:…",
            )
        numbers.append(face_id)
    paths = tuple(absolute(target) for target in targets if not target.startswith("face:"))
    return Targets(targets, paths, tuple(numbers))


class _Remove:
    """One run of the command."""

    def __init__(self, common: Common, request: RemoveArguments) -> None:
        from facecli.store.locate import find_index  # noqa: PLC0415 (not for --help)

        self._directory = find_index(common.index, os.getcwd())
        self._style = path_style(common)
        self._console = common.console()
        self._dry_run, self._wait, self._yes = request.dry_run, request.wait, request.yes

    def _open(self) -> IndexWriter:
        from facecli.store.writer import open_writer  # noqa: PLC0415 (not for --help)

        return open_writer(self._directory, wait_seconds=self._wait)

    def take_out(self, chosen: Targets) -> int:
        """Remove the targets, so that later runs do not add them again; returns the exit code."""
        from facecli.store.reader import open_reader  # noqa: PLC0415 (not for --help)

        if self._dry_run or (not self._yes and can_ask()):
            with open_reader(self._directory) as reader:
                removal = reader.plan_removal(chosen.paths, chosen.faces)
            if self._dry_run:
                self._list(removal)
                self._console.warn(f"would remove {_counted(removal)} from the index; the files stay")
                return 0
            photos = len(removal.photos) + len(removal.copies)
            question = f"Remove {_counted(removal)} from the index? The files stay."
            if photos > MANY and not agrees(question, yes=self._yes):
                return self._refuse()
        with self._open() as writer:
            removal = writer.plan_removal(chosen.paths, chosen.faces)
            erased = writer.remove(removal, WAIT_READERS)
        self._list(removal)
        self._console.warn(
            f"removed {_counted(removal)} from the index; the files stay; "
            "later index runs do not add them again until facecli remove --forget"
        )
        self._ask_erased(erased=erased)
        return 0

    def _refuse(self) -> int:
        self._console.warn("nothing was changed")
        return REFUSED

    def _list(self, removal: Removal) -> None:
        for kind, photos in (("photo", removal.photos), ("copy", removal.copies)):
            for photo in photos:
                self._row(photo.file.path, kind, str(photo.faces))
        for face in removal.faces:
            self._row(face.path, "face", f"face:{face.face_id}")
        for path in removal.skips:
            self._row(path, "skipped", "0")

    def drop_missing(self) -> None:
        """Drop the photos that are gone, by the rules of pruning."""
        from facecli.removing import find_missing  # noqa: PLC0415 (not for --help)
        from facecli.store.reader import open_reader  # noqa: PLC0415 (not for --help)

        erased = True
        if self._dry_run:
            with open_reader(self._directory) as reader:
                missing = find_missing(reader)
        else:
            with self._open() as writer:
                missing = find_missing(writer)
                writer.prune(list(missing.photos), missing.skipped_paths, forget_people=True)
                erased = writer.finish(WAIT_READERS).erased
        for line in missing.spared:
            self._console.warn(line)
        for path in missing.photos.values():
            self._row(path, "photo", "missing")
        self._console.warn(
            f"{'would drop' if self._dry_run else 'dropped'} "
            f"{counted(len(missing.photos), 'photo')} whose files are gone"
        )
        self._ask_erased(erased=erased)

    def drop_root(self, root: str) -> None:
        """Drop a root and the photos below it only; later runs may add them again."""
        from facecli.removing import plan_root_removal  # noqa: PLC0415 (not for --help)
        from facecli.store.reader import open_reader  # noqa: PLC0415 (not for --help)

        erased = True
        if self._dry_run:
            with open_reader(self._directory) as reader:
                removal = plan_root_removal(reader, root)
        else:
            with self._open() as writer:
                removal = plan_root_removal(writer, root)
                writer.drop_roots(removal.places, list(removal.photos), removal.skipped_paths)
                erased = writer.finish(WAIT_READERS).erased
        for photo in removal.photos.values():
            self._row(photo.file.path, "photo", str(photo.faces))
        for path in removal.skipped_paths:
            self._row(path, "skipped", "0")
        done = "would drop" if self._dry_run else "dropped"
        self._console.warn(
            f"{done} {root} with {counted(len(removal.photos), 'photo')}; "
            f"facecli index {shlex.quote(root)} adds it again"
        )
        self._ask_erased(erased=erased)

    def let_back(self, chosen: Targets) -> None:
        """Forget earlier removals of the targets."""
        from facecli.removing import ask_let_back, contents_of  # noqa: PLC0415 (not for --help)
        from facecli.store.reader import open_reader  # noqa: PLC0415 (not for --help)

        if self._dry_run:
            with open_reader(self._directory) as reader:
                digests = list(contents_of(reader, chosen.paths))
                count = sum(len(kept.boxes) + kept.photo for kept in map(reader.kept_out, dict.fromkeys(digests)))
                count += reader.kept_out_faces(chosen.faces)
        else:
            with self._open() as writer:
                digests = list(contents_of(writer, chosen.paths))
                count = writer.let_back(digests, chosen.faces)
        ask_let_back(count, chosen.named)
        self._console.warn(f"{counted(count, 'removal')} {'would be forgotten' if self._dry_run else FORGOTTEN}")

    def let_all_back(self) -> int:
        """Forget all earlier removals; returns the exit code."""
        from facecli.store.reader import open_reader  # noqa: PLC0415 (not for --help)

        with open_reader(self._directory) as reader:
            count = reader.info.kept_out
        if self._dry_run or not count:
            self._console.warn(f"{counted(count, 'removal')} would be forgotten" if count else "nothing was removed")
            return 0
        question = f"Forget {counted(count, 'removal')}? Later index runs add these photos and faces again."
        if not agrees(question, yes=self._yes):
            return self._refuse()
        with self._open() as writer:
            count = writer.let_all_back()
        self._console.warn(f"{counted(count, 'removal')} {FORGOTTEN}")
        return 0

    def _ask_erased(self, *, erased: bool) -> None:
        """Raise StoreError if a reader kept the index open for too long."""
        if not erased:
            raise StoreError(
                "removed, but another process is reading the index, so the erasure is not finished",
                self._directory,
                hint="the next index, remove or check --repair finishes it",
            )

    def _row(self, path: str, kind: str, detail: str) -> None:
        from facecli.output.paths import tsv_path  # noqa: PLC0415 (not for --help)

        with results(lasting=True) as out:
            out.write(tsv_path(self._style.show(path)) + f"\t{kind}\t{detail}\n".encode())


def _counted(removal: Removal) -> str:
    """Describe a removal."""
    photos = len(removal.photos) + len(removal.copies)
    faces = sum(photo.faces for photo in (*removal.photos, *removal.copies)) + len(removal.faces)
    said = [counted(photos, "photo")] if photos else []
    said.append(counted(faces, "face"))
    if removal.skips:
        said.append(f"{counted(len(removal.skips), 'record')} of files that could not be read")
    copies = len(removal.copies)
    return ", ".join(said) + (f" ({counted(copies, 'copy')} of a photo among them)" if copies else "")
