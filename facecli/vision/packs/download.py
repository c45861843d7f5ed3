"""Download a pack from InsightFace's releases: the only place in facecli that opens a network connection.

Everything is verified twice: the archive by its pinned SHA-256, the two models by theirs. An interrupted download is
resumed.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import filelock

from facecli import __version__
from facecli.directories import cache_directory
from facecli.errors import PackError
from facecli.reporting import Reporter
from facecli.vision.packs.archive import install_pack
from facecli.vision.packs.inventory import Presence, check_known
from facecli.vision.packs.known import KnownPack
from facecli.vision.packs.resolve import pack_directory, pack_hint

RELEASES = "https://github.com/deepinsight/insightface/releases/download"
SOURCES = (f"{RELEASES}/model-zoo", f"{RELEASES}/v0.7")
"""Base addresses of NAME.zip; the second is tried if the first does not have it."""
MIRROR = "FACECLI_MODELS_URL"
"""Environment variable with another base address, or several separated by spaces."""
LARGEST_ARCHIVE = 2_000_000_000
CHUNK = 1 << 18
TIMEOUT_SECONDS = 30.0
ATTEMPTS = 5
MEGABYTE = 1_000_000


def pull_pack(pack: KnownPack, report: Reporter, sources: Sequence[str] = ()) -> str:
    """Download a pack unless it is present and sound; gives its directory.

    Raises PackError; then only a resumable part of the download may remain.
    """
    state = check_known(pack, afresh=True)
    if state.presence is Presence.PRESENT:
        report.detail(f"{pack.name} is already on this machine")
        return state.directory
    if not pack.archive_sha256:
        raise PackError(
            "this pack cannot be downloaded; it comes with a Python package", pack.name, hint=pack_hint(pack)
        )
    directory = state.directory or pack_directory(pack.name)
    try:
        folder = cache_directory() / "downloads"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with filelock.FileLock(folder / f"{pack.name}.lock", timeout=0):
            part = folder / f"{pack.name}.zip.part"
            _fetch_archive(pack, part, sources or _sources(), report)
            _install(part, pack, directory)
    except filelock.Timeout as error:
        raise PackError("another process is pulling this pack", pack.name) from error
    except OSError as error:
        raise PackError(f"a pack cannot be written ({error.strerror or error})", error.filename or directory) from error
    return directory


def _install(part: Path, pack: KnownPack, directory: str) -> None:
    """Unpack the archive and delete it, also if it is rejected; it stays if the disk is full."""
    try:
        install_pack(part, pack, directory)
    except PackError:
        part.unlink()
        raise
    part.unlink()


def _sources() -> Sequence[str]:
    return os.environ.get(MIRROR, "").split() or SOURCES


def _fetch_archive(pack: KnownPack, part: Path, sources: Sequence[str], report: Reporter) -> None:
    """Download the archive into `part` and verify it; if a resumed download is wrong, start over once."""
    pieced = part.exists() and part.stat().st_size > 0
    _download(pack.name, part, sources, report)
    found = _sha256(part)
    if found != pack.archive_sha256 and pieced:
        part.unlink()
        report.detail("the unfinished earlier download was damaged; downloading it again")
        _download(pack.name, part, sources, report)
        found = _sha256(part)
    if found != pack.archive_sha256:
        part.unlink()
        what = f"the archive is damaged or not the published one (SHA-256 {found}, expected {pack.archive_sha256})"
        raise PackError(what, f"{pack.name}.zip", hint=f"run it again, or name a mirror in {MIRROR}")


def _download(name: str, part: Path, sources: Sequence[str], report: Reporter) -> None:
    """Download the archive from the first source that has it; resumes as long as each attempt makes progress."""
    reason: Exception | str = ""
    for source in sources:
        url = f"{source.rstrip('/')}/{name}.zip"
        for _ in range(ATTEMPTS):
            had = _size(part)
            try:
                _receive(url, part, report)
            except urllib.error.HTTPError as error:
                reason = f"{url} answers {error.code} {error.reason}"
                error.close()
                break
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = getattr(error, "reason", None) or error
                if _size(part) <= had:
                    break
            else:
                return
            finally:
                report.stop()
    if not _size(part):
        part.unlink(missing_ok=True)
    left = f"; {_size(part) // MEGABYTE} MB are kept, the same command goes on from there" if _size(part) else ""
    hint = f"check the network, or name a mirror in {MIRROR}{left}"
    raise PackError(f"a pack cannot be downloaded ({_one_line(reason)})", name, hint=hint)


def _receive(url: str, part: Path, report: Reporter) -> None:
    """Request the rest of `part`; raises if the connection ends early."""
    had = _size(part)
    headers = {"User-Agent": f"facecli/{__version__}"} | ({"Range": f"bytes={had}-"} if had else {})
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)  # noqa: S310 (a mirror may use any scheme)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and had:
            error.close()
            return  # the file is complete or wrong: its hash decides
        raise
    with answer:
        goes_on = answer.status == http.client.PARTIAL_CONTENT and str(
            answer.headers.get("Content-Range", "")
        ).startswith(f"bytes {had}-")
        length = answer.headers.get("Content-Length")
        start = had if goes_on else 0
        total = start + int(length) if length else None
        if total is not None and total > LARGEST_ARCHIVE:
            raise ValueError(f"{url} is {total // MEGABYTE} MB large")
        report.start("MB", total // MEGABYTE if total is not None else None)
        report.advance(start // MEGABYTE)
        with open(part, "ab" if goes_on else "wb") as file:
            _copy(answer, file, start, report)
            if total is not None and file.tell() < total:
                raise OSError(f"the connection ended after {file.tell() // MEGABYTE} of {total // MEGABYTE} MB")


def _copy(answer: IO[bytes], file: IO[bytes], start: int, report: Reporter) -> None:
    """Write the answer to `file` and report whole megabytes."""
    done = start
    while chunk := answer.read(CHUNK):
        file.write(chunk)
        report.advance((done + len(chunk)) // MEGABYTE - done // MEGABYTE)
        done += len(chunk)
        if done > LARGEST_ARCHIVE:
            raise ValueError(f"the archive is larger than {LARGEST_ARCHIVE // MEGABYTE} MB")


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split()) or type(reason).__name__
