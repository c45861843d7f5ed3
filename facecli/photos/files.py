"""Read the bytes of a photo's file once, only if it is a regular file, and not while it changes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import BinaryIO

import xxhash

from facecli.config import ReadOptions
from facecli.photos.mounts import FileSystems
from facecli.photos.opening import format_of
from facecli.photos.refusal import Refusal, unavailable
from facecli.photos.sniff import HEAD
from facecli.types import FileContents, PhotoFile, Skipped, SkipReason

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ESTALE)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_BYTES_A_PIXEL = 8
"""Bytes per pixel of the largest uncompressed pictures: four samples of 16 bits."""
_BYTES_BESIDE = 64_000_000
_PIECE = 1 << 20


def stat_photo(path: str, systems: FileSystems | None = None) -> PhotoFile | Skipped:
    """Stat a named file without opening it, so that pipes and devices are safe.

    `systems` decides which properties (inode and ctime, or only size and mtime) identify the file later.
    """
    try:
        state = os.stat(path)
    except (OSError, ValueError) as error:
        return refused(error).skip(PhotoFile(path, 0, 0))
    file = PhotoFile.seen(path, state) if systems is None else systems.file_at(path, state)
    return file if stat.S_ISREG(state.st_mode) else _no_file(state.st_mode).skip(file)


def read_photo(
    file: PhotoFile, options: ReadOptions, take: Callable[[int], None] = lambda _: None
) -> FileContents | Skipped:
    """The bytes of a file with their digest, and its size and mtime at the time of reading.

    A file that does not begin as an image is not read further. `take` is called with the size before memory is
    allocated.
    """
    try:
        # Without O_NONBLOCK, opening would hang if a pipe has replaced the file since the scan.
        handle = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        return refused(error).skip(file)
    try:
        return _read(handle, file, options, take)
    except (OSError, MemoryError) as error:
        return refused(error).skip(file)
    except Refusal as refusal:
        return refusal.skip(file)
    finally:
        os.close(handle)


def read_stream(
    stream: BinaryIO, name: str, options: ReadOptions, take: Callable[[int], None]
) -> FileContents | Skipped:
    """The bytes of a pipe: at most as many as a photo may have, and only the beginning if it is not an image."""
    data = bytearray()
    # One call of the system at a time where the stream can: between two that C makes in a row, a Ctrl-C is not heard.
    read = getattr(stream, "read1", stream.read)
    try:
        data += stream.read(HEAD)
        format_of(bytes(data))
        take(_most_bytes(options))  # the size is not known in advance
        while piece := read(_PIECE):
            data += piece
            _check_size(len(data), options)
    except (OSError, MemoryError) as error:
        return refused(error).skip(PhotoFile(name, len(data), 0))
    except Refusal as refusal:
        return refusal.skip(PhotoFile(name, len(data), 0))
    return FileContents(PhotoFile(name, len(data), 0), xxhash.xxh3_128_digest(data), bytes(data))


def _read(handle: int, file: PhotoFile, options: ReadOptions, take: Callable[[int], None]) -> FileContents | Skipped:
    before = os.fstat(handle)
    if not stat.S_ISREG(before.st_mode):
        raise _no_file(before.st_mode)
    file = PhotoFile.seen(file.path, before, is_stable=file.ctime_ns is not None)
    try:
        _check_size(before.st_size, options)
        format_of(os.pread(handle, HEAD, 0))
    except Refusal as refusal:
        return refusal.skip(file)
    take(before.st_size)
    data = _read_whole(handle, before.st_size)
    after = os.fstat(handle)
    if len(data) != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        return Skipped(file, SkipReason.CHANGED, "the file changed while it was read")
    return FileContents(file, xxhash.xxh3_128_digest(data), data)


def _most_bytes(options: ReadOptions) -> int:
    return options.max_pixels * _BYTES_A_PIXEL + _BYTES_BESIDE


def _check_size(size: int, options: ReadOptions) -> None:
    if size > _most_bytes(options):
        said = f"{size} bytes are more than a picture of {options.max_pixels} pixels has"
        raise Refusal(SkipReason.TOO_LARGE, said, f"max-pixels={options.max_pixels}")


def _read_whole(handle: int, size: int) -> bytes:
    """The file's bytes; one byte more than `size` if the file has grown."""
    data = os.read(handle, size + 1)
    if len(data) >= size:
        return data
    parts = [data]
    while part := os.read(handle, max(1, size + 1 - sum(map(len, parts)))):
        parts.append(part)
        if sum(map(len, parts)) > size:
            break
    return b"".join(parts)


def refused(error: OSError | ValueError | MemoryError) -> Refusal:
    """The reason for a system error: vanished, permission, or a temporary one that says nothing about the content."""
    if isinstance(error, MemoryError):
        return unavailable("not enough memory to read it")
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    said = os.strerror(number) if number else "it cannot be read"
    if number in _GONE:
        return Refusal(SkipReason.VANISHED, said)
    if number in _FORBIDDEN:
        return Refusal(SkipReason.PERMISSION, said)
    return unavailable(said)


def _no_file(mode: int) -> Refusal:
    kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    what = next((name for test, name in kinds if test(mode)), "a device")
    return Refusal(SkipReason.NOT_AN_IMAGE, f"{what}, not a file")
