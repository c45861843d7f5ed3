"""List packs, find those on this machine, and verify their files."""

from __future__ import annotations

import os
from enum import StrEnum

from msgspec import Struct

from facecli.directories import insightface_directory
from facecli.errors import PackError
from facecli.vision.packs.hashes import file_sha256
from facecli.vision.packs.known import LICENCE, MODELS, PACKS, REFUSED, UNKNOWN_LICENCE, KnownPack, known_pack
from facecli.vision.packs.resolve import find_pack, model_path, pack_directory


class Presence(StrEnum):
    """State of a pack on this machine."""

    PRESENT = "present"
    ABSENT = "not here"
    DAMAGED = "damaged"
    REFUSED = "not run"


class FileState(Struct, frozen=True):
    """A model file and its hashes."""

    path: str
    expected: str
    """The published SHA-256; empty if unknown."""
    found: str
    """The SHA-256 of the file; empty if it is missing."""

    @property
    def sound(self) -> bool:
        return bool(self.found) and self.expected in ("", self.found)


class PackState(Struct, frozen=True):
    """A pack and its files on this machine."""

    name: str
    detector: str
    recogniser: str
    dimension: int
    """Length of the embedding; 0 if not known yet."""
    licence: str
    directory: str
    presence: Presence
    files: tuple[FileState, ...] = ()
    """Empty if the pack is not on this machine."""
    known: KnownPack | None = None
    """What is published about it."""


def list_packs() -> list[PackState]:
    """All packs: the known ones, other directories in InsightFace's place, and those that facecli does not run."""
    refused = [PackState(p.name, p.detector, p.recogniser, 0, LICENCE, "", Presence.REFUSED) for p in REFUSED]
    return [*(check_known(pack) for pack in PACKS), *_other_packs(), *refused]


def installed_packs() -> list[str]:
    """The names of the packs on this machine, without a look into their files."""
    return [*(pack.name for pack in PACKS if _is_here(pack.name)), *(state.name for state in _other_packs())]


def _is_here(name: str) -> bool:
    try:
        return os.path.isdir(pack_directory(name))
    except PackError:
        return False


def check_known(pack: KnownPack, *, afresh: bool = False) -> PackState:
    """The state of a known pack; `afresh` hashes each file again instead of using cached hashes."""
    try:
        directory = pack_directory(pack.name)
    except PackError:
        directory = ""
    paths = [(model_path(directory, model), model) for model in pack.models]
    files: tuple[FileState, ...] = ()
    if directory and os.path.isdir(directory):
        hashes = [file_sha256(path, afresh=afresh) if os.path.exists(path) else "" for path, _ in paths]
        files = tuple(FileState(path, model.sha256, found) for (path, model), found in zip(paths, hashes, strict=True))
    presence = Presence.ABSENT if not files else Presence.PRESENT if all(f.sound for f in files) else Presence.DAMAGED
    return PackState(
        pack.name,
        pack.detector.file,
        pack.recogniser.file,
        pack.recogniser.dimension,
        LICENCE,
        directory,
        presence,
        files,
        pack,
    )


def check_named(named: str) -> PackState:
    """The state of a pack, given by name or directory; each file is hashed again. Raises PackError."""
    known = known_pack(named)
    if known is not None:
        return check_known(known, afresh=True)
    pack = find_pack(named)
    files = tuple(
        FileState(m.path, m.sha256 if m.sha256 in MODELS else "", file_sha256(m.path, afresh=True))
        for m in (pack.detector, pack.recogniser)
    )
    presence = Presence.PRESENT if all(f.sound for f in files) else Presence.DAMAGED
    names = [os.path.basename(f.path) for f in files]
    return PackState(pack.name, names[0], names[1], pack.dimension, pack.licence, pack.directory, presence, files)


def _other_packs() -> list[PackState]:
    """The directories in InsightFace's place that are not known packs; not inspected, which takes a second each."""
    known = {pack.name for pack in PACKS if pack.archive_sha256} | {pack.name for pack in REFUSED}
    try:
        place = insightface_directory()
        names = sorted(
            e.name for e in os.scandir(place) if e.is_dir() and not e.name.startswith(".") and e.name not in known
        )
    except OSError:
        return []
    return [
        PackState(name, "", "", 0, UNKNOWN_LICENCE, str(place / name), Presence.PRESENT)
        for name in names
        if name != PACKS[0].name
    ]
