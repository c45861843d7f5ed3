"""Write the names of faces beside their photos as XMP, and read them from there."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import TypeGuard

from msgspec import Struct

from facecli import __version__
from facecli.config import ReadOptions
from facecli.errors import FacecliError
from facecli.limits import PhotoLimits
from facecli.photos.captured import orientation_of_file
from facecli.photos.embedded import embedded_xmp
from facecli.photos.files import read_photo
from facecli.regions import RDF, SAME, Area, Region, RegionSet, overlap, turned, upright, write_items, write_xmp
from facecli.reporting import Reporter
from facecli.sidecar_files import SharedFile
from facecli.store.reader import IndexReader
from facecli.store.records import StoredPhoto
from facecli.types import Skipped
from facecli.whole_files import Part, clear_parts
from facecli.wording import counted
from facecli.xmp import names_used, parse_xmp, read_xmp
from facecli.xmp_merging import put_names

OWN = "facecli "
"""The beginning of the name that facecli leaves in its sidecars; its version and the tag of the index follow."""
_SECONDS = 120
_COPIED = ("-XMP-mwg-rs:all", "-XMP-iptcExt:PersonInImage", "-XMP-MP:all")
"""What exiftool takes over from what facecli made."""


class Named(Struct, frozen=True):
    """The names of a photo's faces."""

    regions: tuple[Region, ...]
    """In the stored picture."""
    size: tuple[int, int]
    """Of the stored picture."""


class SidecarReport(Struct):
    """What was done."""

    written: int = 0
    merged: int = 0
    unchanged: int = 0
    failed: int = 0


class SidecarWriter:
    """Writes sidecars for the named faces of an index."""

    def __init__(self, reader: IndexReader, reporter: Reporter, *, dry_run: bool = False, into: bool = False) -> None:
        """With `into`, names go into the photos themselves. Raises FacecliError if exiftool is needed and missing."""
        self._reader, self._reporter, self._dry_run, self._into = reader, reporter, dry_run, into
        self._tool = shutil.which("exiftool")
        self._tag, self._cleared = reader.people.tag(), set[str]()
        self.report = SidecarReport()
        if into and self._tool is None:
            raise FacecliError("writing into photos needs exiftool", "--into-photos", hint="leave it out for sidecars")

    def write(self, limits: PhotoLimits, person_id: int | None = None) -> SidecarReport:
        """Write all sidecars, of one person or of all people; those that fail are named.

        What this index wrote into a sidecar of its own, and nobody is called any more, is taken out.
        """
        people = self._reader.people
        names = {number: person.name for number, person in people.standing().people.items() if person.name}
        wanted = [number for number in names if person_id in (None, number)]
        name = None if person_id is None else names.get(person_id, "")
        by_path: dict[str, list[Region]] = {}
        for face in self._reader.people_within(limits).faces(wanted):
            by_path.setdefault(face.path, []).append(Region(names[face.person_id], face.box))
        for photo in self._reader.photos_within(limits):
            faces = by_path.get(photo.file.path, [])
            if not faces and not self._is_left_over(f"{photo.file.path}.xmp", name):
                continue
            try:
                self._write(photo, faces, name)
            except FacecliError as error:
                self.report.failed += 1
                self._reporter.warn(f"left as it is: {error}" + (f" ({error.hint})" if error.hint else ""))
        return self.report

    def _is_left_over(self, sidecar: str, name: str | None) -> bool:
        """Whether this index wrote regions, or those of one name, into a sidecar of its own."""
        if self._into:
            return False
        try:
            there = read_sidecar(sidecar)
        except FacecliError:
            return False
        return self._wrote(there) and any(name in (None, region.name) for region in there.regions)

    def _wrote(self, there: RegionSet | None) -> TypeGuard[RegionSet]:
        """Whether this index wrote a sidecar; another one's may hold names that are not imported yet."""
        return there is not None and _is_own(there) and there.toolkit.rpartition(" ")[2] == self._tag

    def _write(self, photo: StoredPhoto, faces: Sequence[Region], name: str | None) -> None:
        path = photo.file.path
        turn, target = _orientation(photo), SharedFile(path if self._into else f"{path}.xmp")
        data = self._content(target)
        there = None if data is None else read_xmp(data, target.path)
        named = stored_regions(photo, faces, turn if there is None else undone(there, photo, turn))
        if data is not None and there is not None and (self._into or not _is_own(there)):
            made = self._with_theirs(data, target.path, named)
        else:
            made = self._alone(there, target.path, named, name)
        if made is None:
            self.report.unchanged += 1
            return
        merges = self._into or (there is not None and not _is_own(there))
        if merges and self._tool is None:
            raise FacecliError("there is a sidecar of another program, and exiftool is missing", target.path)
        target.ask_writable()
        if self._dry_run:
            self._reporter.warn(f"would write {counted(len(faces), 'name')}: {target.path}")
        elif merges:
            self._merge(made, target.path)
        else:
            self._clear(os.path.dirname(target.path))
            target.replace(made)
        self.report.merged += merges
        self.report.written += not merges

    def _clear(self, folder: str) -> None:
        """Remove what a killed command left in a folder, once."""
        if folder not in self._cleared:
            self._cleared.add(folder)
            with contextlib.suppress(OSError):
                clear_parts(folder)

    def _alone(self, there: RegionSet | None, target: str, named: Named, name: str | None) -> bytes | None:
        """A sidecar of facecli's own; None if the one that is there says the same."""
        regions, people = united(named.regions, self._kept(there, name))
        made = write_xmp(regions, people, named.size, self._toolkit(there, len(regions) - len(named.regions)))
        return None if there is not None and set(there.regions) == set(read_xmp(made, target).regions) else made

    def _with_theirs(self, data: bytes, target: str, named: Named) -> bytes | None:
        """The names in lists of another program; None if all are there."""
        merged = put_names(data, target, named.regions)
        if not merged.changed:
            return None
        return write_items(merged.items, merged.people, named.size, f"{OWN}{__version__} {self._tag}")

    def _kept(self, there: RegionSet | None, name: str | None) -> RegionSet:
        """What a sidecar of facecli's own keeps, unless it is of the same faces."""
        if there is None:
            return RegionSet()
        stays = [one for one in there.regions if not self._wrote(there) or name not in (None, one.name)]
        return RegionSet(tuple(stays))

    def _toolkit(self, there: RegionSet | None, kept: int) -> str:
        """What tells who wrote a sidecar: as long as it keeps what another index wrote, it stays that one's."""
        if there is not None and kept and _is_own(there):
            return there.toolkit
        return f"{OWN}{__version__} {self._tag}"

    def _content(self, target: SharedFile) -> bytes | None:
        """The XMP data that is there; None if there is none."""
        if self._into:
            return self._run("-b", "-XMP", target.path).strip() or None
        return target.read()

    def _merge(self, made: bytes, target: str) -> None:
        """Put the names into a file by exiftool, which keeps everything else."""
        with Part(os.path.dirname(target)) as part:
            part.fill([made])
            if not read_xmp(made, target).plain:
                self._ask_whole(made, part.path, target)
            try:
                self._run("-overwrite_original", "-tagsFromFile", part.path, *_COPIED, target)
            except KeyboardInterrupt:
                # exiftool was killed, and would refuse the photo as long as its own temporary file is there.
                with contextlib.suppress(OSError):
                    os.unlink(f"{target}_exiftool_tmp")
                raise

    def _ask_whole(self, made: bytes, path: str, target: str) -> None:
        """Raise FacecliError if exiftool would leave out a property of a region, as those that it does not know."""
        kept = self._run("-XMP:all=", "-tagsFromFile", "@", *_COPIED, "-o", "-", path)
        lost = names_used(parse_xmp(made, target)) - names_used(parse_xmp(kept, target))
        named = ", ".join(sorted(name.rpartition("}")[2] for name in lost if RDF not in name))
        if named:
            raise FacecliError(f"exiftool would lose {named} of its regions", target)

    def _run(self, *arguments: str) -> bytes:
        assert self._tool is not None
        try:
            done = subprocess.run(  # noqa: S603 (its absolute path; names are arguments, and absolute)
                [self._tool, *arguments], capture_output=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FacecliError("exiftool cannot be run", arguments[-1]) from error
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise FacecliError(f"exiftool: {said[0] if said else 'failed'}", arguments[-1])
        return done.stdout


def _is_own(there: RegionSet) -> bool:
    """Whether facecli alone wrote a sidecar, so that it holds nothing else; an editor may leave the toolkit's name."""
    return there.plain and there.toolkit.startswith(OWN)


def united(mine: Sequence[Region], there: RegionSet) -> tuple[tuple[Region, ...], tuple[str, ...]]:
    """Regions and names of a file together with those of the index, which count where both have the same face."""
    others = [other for other in there.regions if all(overlap(other.area, one.area) < SAME for one in mine)]
    regions = (*mine, *others)
    return regions, tuple(dict.fromkeys([region.name for region in regions] + list(there.people)))


def stored_regions(photo: StoredPhoto, faces: Sequence[Region], turn: int) -> Named:
    """Faces in the stored picture of a photo, whose EXIF orientation is `turn`."""
    width, height = photo.width, photo.height
    regions = tuple(Region(face.name, turned(_clipped(face.area, width, height), turn)) for face in faces)
    return Named(regions, (height, width) if turn > 4 else (width, height))


def undone(there: RegionSet, photo: StoredPhoto, turn: int) -> int:
    """The orientation that a file's regions leave undone: 1 where they are parts of a picture that lies upright."""
    if turn <= 4 or there.size is None:
        return turn
    width, height = there.size
    as_stored, as_upright = (
        abs(width * h - height * w) for w, h in ((photo.height, photo.width), (photo.width, photo.height))
    )
    return 1 if as_upright < as_stored else turn


def _clipped(box: Area, width: int, height: int) -> Area:
    """A box in pixels as parts of a picture's size, without what lies outside."""
    x1, x2 = (min(max(edge / width, 0.0), 1.0) for edge in box[::2])
    y1, y2 = (min(max(edge / height, 0.0), 1.0) for edge in box[1::2])
    return x1, y1, x2, y2


def _orientation(photo: StoredPhoto) -> int:
    contents = read_photo(photo.file, ReadOptions(), lambda _: None)
    if isinstance(contents, Skipped):
        raise FacecliError(contents.reason.said, photo.file.path)
    if contents.digest != photo.digest:
        raise FacecliError("the photo has changed since it was indexed", photo.file.path)
    return orientation_of_file(contents.data)


def read_sidecar(path: str) -> RegionSet | None:
    """The regions in a sidecar; None if there is none."""
    data = SharedFile(path).read()
    return None if data is None else read_xmp(data, path)


def names_beside(reader: IndexReader, tell: Callable[[str], None]) -> dict[str, list[int]]:
    """The names in an index's photos and their sidecars, each with the faces that it stands at."""
    found: dict[str, list[int]] = {}
    for photo in reader.photos():
        for region in _upright_regions(photo, tell):
            face = _face_at(reader, photo, region.area)
            if face is None:
                tell(f"left out: no face where {region.name} is: {photo.file.path}")
            else:
                found.setdefault(region.name, []).append(face)
    return found


def _upright_regions(photo: StoredPhoto, tell: Callable[[str], None]) -> list[Region]:
    """The regions of all that says something about a photo; where two are of one face, the first counts."""
    path, found = photo.file.path, list[Region]()
    sources = (read_sidecar, f"{path}.xmp"), (read_sidecar, f"{os.path.splitext(path)[0]}.xmp"), (_read_photo, path)
    for read, place in sources:
        try:
            there = read(place)
            if there is None or not there.regions:
                continue
            turn = undone(there, photo, _orientation(photo))
        except FacecliError as error:
            tell(f"left out: {error}")
            continue
        regions = (Region(one.name, upright(one.area, turn)) for one in there.regions)
        known = tuple(found)
        found += (one for one in regions if all(overlap(one.area, other.area) < SAME for other in known))
    return found


def _read_photo(path: str) -> RegionSet | None:
    data = embedded_xmp(path)
    return read_xmp(data, path) if data else None


def _face_at(reader: IndexReader, photo: StoredPhoto, area: Area) -> int | None:
    """The face at an area of the upright picture."""
    likeness = {
        face.face_id: overlap(_clipped(face.box, photo.width, photo.height), area)
        for face in reader.faces_of(photo.photo_id)
    }
    best = max(likeness, key=likeness.__getitem__, default=None)
    return best if best is not None and likeness[best] >= SAME else None
