"""`facecli faces`: list the faces in photos."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from facecli.cli.context import info_nearby, path_style
from facecli.cli.names import Name
from facecli.cli.options import Common, ExampleCommand, common_options, face_option, model_options
from facecli.cli.printing import choose_format, format_options, list_writer
from facecli.cli.streams import Results, results, say_error
from facecli.directories import absolute
from facecli.errors import PhotoError, QueryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

    from facecli.output.formats import ListWriter, OutputFormat
    from facecli.output.photo_faces import FaceOfPhoto
    from facecli.output.placing import Folder
    from facecli.searching.reading import QueryPhoto
    from facecli.store.reader import IndexReader
    from facecli.types import IndexedFace

PAGE = 1000
"""Faces of the index that are written at once."""
EXAMPLES = """
facecli faces group.jpg                  a line for each face
facecli faces --json *.jpg | jq .score
facecli faces --crops crops/ group.jpg   the aligned faces as PNG files
facecli faces --indexed album/party      the faces that the index has, with their ids
"""


class FacesArguments(Struct, frozen=True):
    """The parsed arguments."""

    photos: tuple[str, ...]
    face: str
    json: bool
    csv: bool
    embeddings: bool
    crops: str | None
    indexed: bool
    model: str | None
    device: str


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.argument("photos", metavar="PHOTO...", nargs=-1, required=True, type=Name())
@face_option("all", "Which faces of each photo to list.")
@format_options("json", "csv")
@click.option("--embeddings", is_flag=True, help="With --json: also print the embedding of each face.")
@click.option(
    "--crops",
    metavar="DIR",
    type=Name(file_okay=False),
    help="Write the aligned 112x112 crops to DIR as PNG; never overwrites a file.",
)
@click.option("--indexed", is_flag=True, help="List what the index has of photos and directories; reads no photo.")
@model_options
@common_options
def faces(common: Common, **given: Any) -> int:
    """List the faces found in photos; needs no index.

    A PHOTO is an image file, or - for an image on stdin. Prints one line per face: its number (by falling area), its
    box x1,y1,x2,y2, score, size in pixels, and the photo. With --indexed a PHOTO may be a directory, and the number is
    the face's id in the index; the person follows where one is known. Exit code 0: done, 2: error, 3: some photos
    could not be read.
    """
    request = FacesArguments(**given)
    if request.embeddings and not request.json:
        raise UsageError("embeddings are printed as JSON only", "--embeddings", hint="--json --embeddings")
    return _IndexedFaces(common, request).run() if request.indexed else _Faces(common, request).run()


class _Faces:
    """One run of the command."""

    def __init__(self, common: Common, request: FacesArguments) -> None:
        self.common, self.request = common, request
        self.console = common.console()

    def run(self) -> int:
        with results(lasting=self.request.crops is not None) as out:
            failed = self._list(self._writer(out), self._folder())
        return _exit_code(failed, len(self.request.photos))

    def _list(self, writer: ListWriter[FaceOfPhoto], folder: Folder | None) -> int:
        """Write the faces of all photos and report those that failed; returns the number of failed photos."""
        failed = 0
        writer.begin()
        with contextlib.closing(self._read()) as photos:
            for photo in photos:
                try:
                    if isinstance(photo, PhotoError):
                        raise photo
                    self._write(photo, writer, folder)
                except PhotoError as error:
                    if len(self.request.photos) == 1:
                        raise
                    failed += 1
                    say_error(str(error), error.hint)
        writer.end()
        return failed

    def _read(self) -> Generator[QueryPhoto | PhotoError]:
        # Imported here, so that --help does not load numpy.
        from facecli.config import ReadOptions  # noqa: PLC0415
        from facecli.searching.gathering import check_stdin  # noqa: PLC0415
        from facecli.searching.opening import ModelSource, choose_pack  # noqa: PLC0415
        from facecli.searching.query_parser import name_photo  # noqa: PLC0415
        from facecli.searching.reading import ReadingOptions, read_photos  # noqa: PLC0415

        check_stdin(self.request.photos)
        info = info_nearby(self.common)
        source = ModelSource(choose_pack(self.request.model, info), self.request.device, info, self.console)
        named = [name_photo(photo, os.getcwd()) for photo in self.request.photos]
        return read_photos(
            source, named, ReadingOptions(ReadOptions(), crops=self.request.crops is not None), sys.stdin.buffer
        )

    def _writer(self, out: Results) -> ListWriter[FaceOfPhoto]:
        from facecli.output.photo_faces import FaceLayout  # noqa: PLC0415

        layout = FaceLayout(path_style(self.common), embeddings=self.request.embeddings)
        return list_writer(_format(self.request), out, layout, self.common)

    def _folder(self) -> Folder | None:
        if self.request.crops is None:
            return None
        from facecli.output.placing import Folder  # noqa: PLC0415

        return Folder(self.request.crops)

    def _write(self, photo: QueryPhoto, writer: ListWriter[FaceOfPhoto], folder: Folder | None) -> None:
        from facecli.searching.query_parser import choose_faces  # noqa: PLC0415

        if not photo.faces:
            self.console.warn(f"{photo.query}: no face found")
            return
        chosen = choose_faces(photo.query, photo.faces, self.request.face)
        writer.write((photo.file.path, face) for face in chosen)
        if folder is not None:
            for face in chosen:
                self._write_crop(photo, face.number, folder)

    def _write_crop(self, photo: QueryPhoto, number: int, folder: Folder) -> None:
        from facecli.searching.thumbnails import png_bytes  # noqa: PLC0415

        assert photo.crops is not None
        stem = os.path.splitext(os.path.basename(photo.query))[0].lstrip("-") or "stdin"
        place = folder.write(f"{stem}-{number}.png", png_bytes(photo.crops[number - 1]))
        self.console.detail(f"{photo.query}: face {number} is {place}")


class _IndexedFaces:
    """One run of the command with --indexed."""

    def __init__(self, common: Common, request: FacesArguments) -> None:
        if request.crops is not None:
            raise UsageError("crops are made from photos, not from the index", "--indexed --crops")
        self.common, self.request = common, request

    def run(self) -> int:
        # Imported here, so that --help does not load numpy.
        from facecli.output.photo_faces import IndexedFaceLayout  # noqa: PLC0415
        from facecli.store.locate import find_index  # noqa: PLC0415
        from facecli.store.reader import open_reader  # noqa: PLC0415

        layout = IndexedFaceLayout(path_style(self.common), embeddings=self.request.embeddings)
        with open_reader(find_index(self.common.index, os.getcwd())) as reader, results() as out:
            writer = list_writer(_format(self.request), out, layout, self.common)
            writer.begin()
            failed = sum(not self._list(reader, photo, writer) for photo in self.request.photos)
            writer.end()
        return _exit_code(failed, len(self.request.photos))

    def _list(self, reader: IndexReader, photo: str, writer: ListWriter[IndexedFace]) -> bool:
        """Write the faces of one photo or directory; returns whether the index has it."""
        from facecli.searching.indexed_faces import indexed_faces  # noqa: PLC0415

        wanted = self.request.face
        number = 1 if wanted == "largest" else 0 if wanted == "all" else int(wanted)
        try:
            faces = indexed_faces(reader, absolute(photo))
            while page := list(itertools.islice(faces, PAGE)):
                writer.write(face for face in page if number in (0, face.number))
        except QueryError as error:
            say_error(f"{error.what}: {photo}", error.hint)
            return False
        return True


def _format(request: FacesArguments) -> OutputFormat:
    return choose_format({"json": request.json, "csv": request.csv})


def _exit_code(failed: int, photos: int) -> int:
    return 0 if not failed else 3 if failed < photos else 2
