"""Unpack a pack's archive safely: model files only, size limits, hashes verified, moved into place at the end.

Folders in the archive are ignored.
"""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

from facecli.errors import PackError
from facecli.scratch import scratch_folder, sweep
from facecli.vision.packs.hashes import file_sha256
from facecli.vision.packs.known import KnownPack

LARGEST_MODEL = 1_000_000_000
MOST_BYTES = 4_000_000_000
CHUNK = 1 << 20


def install_pack(archive: Path, pack: KnownPack, directory: str) -> None:
    """Unpack the models of an archive into `directory`, which does not change until all are verified.

    Raises PackError for an archive that is unsafe or holds other models.
    """
    place = Path(directory)
    place.parent.mkdir(parents=True, exist_ok=True)
    sweep(place.parent)
    with scratch_folder(place.parent) as temporary:
        names = _unpack(archive, temporary)
        _check(temporary, pack)
        temporary.chmod(0o755)
        if place.exists():
            _replace_files(temporary, names, place)
        else:
            os.rename(temporary, place)
            _sync_directory(place.parent)


def _unpack(archive: Path, target: Path) -> list[str]:
    """Unpack the model files into `target`, without their folders, and give their names."""
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = _wanted(opened)
            for name, entry in entries.items():
                with opened.open(entry) as source, open(target / name, "xb") as file:
                    _copy(source, file)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise PackError(f"an archive cannot be unpacked ({error})", archive.name) from error
    return list(entries)


def _wanted(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The model files of an archive by file name; raises PackError if any entry is unsafe."""
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        if (
            path.is_absolute()
            or ".." in path.parts
            or "\\" in entry.filename
            or ":" in entry.filename
            or stat.S_ISLNK(entry.external_attr >> 16)
        ):
            raise PackError("an archive holds an unsafe name and is not unpacked", repr(entry.filename))
        if entry.is_dir() or path.suffix.lower() != ".onnx" or path.name.startswith("."):
            continue
        if path.name in found:
            raise PackError("an archive holds a model twice", path.name)
        if entry.file_size > LARGEST_MODEL:
            raise PackError(f"an archive holds a model of {entry.file_size} bytes", path.name)
        found[path.name] = entry
    if sum(entry.file_size for entry in found.values()) > MOST_BYTES:
        raise PackError("an archive holds too many bytes of models", str(archive.filename))
    return found


def _copy(source: IO[bytes], file: IO[bytes]) -> None:
    """Write one model and fsync it; enforces the size limit, since the sizes stated in the archive may be wrong."""
    written = 0
    while chunk := source.read(CHUNK):
        written += len(chunk)
        if written > LARGEST_MODEL:
            raise PackError(f"an archive holds a model of over {LARGEST_MODEL} bytes", str(getattr(source, "name", "")))
        file.write(chunk)
    file.flush()
    os.fsync(file.fileno())


def _check(directory: Path, pack: KnownPack) -> None:
    """Raise PackError unless both models of the pack are present with the published content."""
    for model in pack.models:
        path = directory / model.file
        if not path.exists():
            raise PackError("an archive lacks a model", model.file)
        found = file_sha256(str(path))
        if found != model.sha256:
            raise PackError(
                f"a model in the archive is not the published one (SHA-256 {found}, expected {model.sha256})",
                model.file,
            )


def _replace_files(source: Path, names: list[str], place: Path) -> None:
    """Replace the files of an existing pack one by one; other files in its directory stay."""
    for name in names:
        os.replace(source / name, place / name)
    _sync_directory(place)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
