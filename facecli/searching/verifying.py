"""Decide whether two photos show the same person, without an index."""

from __future__ import annotations

from contextlib import closing
from itertools import product

from msgspec import Struct

from facecli.calibrating import find_calibration
from facecli.config import SearchOptions
from facecli.errors import PhotoError, UsageError
from facecli.searching.gathering import Surroundings, check_stdin, warn_of_query
from facecli.searching.opening import ModelSource, choose_pack
from facecli.searching.query_parser import PhotoQuery, choose_faces, name_photo
from facecli.searching.reading import ReadingOptions, read_photos
from facecli.store.records import IndexInfo
from facecli.thresholds import Threshold, choose_threshold
from facecli.types import QueryFace


class Verdict(Struct, frozen=True, eq=False):
    """The similarity of the most similar pair of the chosen faces."""

    faces: tuple[QueryFace, QueryFace]
    similarity: float
    threshold: Threshold

    @property
    def same(self) -> bool:
        """Whether both are the same person, according to the threshold."""
        return self.similarity >= (self.threshold.minimum or 0.0)


def verify_photos(
    queries: tuple[str | PhotoQuery, str | PhotoQuery],
    options: SearchOptions,
    around: Surroundings,
    info: IndexInfo | None,
) -> Verdict:
    """Compare one face of each photo, or with `--face all` the most similar pair.

    Raises PhotoError if a photo cannot be read or has no such face, and UsageError if there is no threshold.
    """
    check_stdin(queries)
    named = [name_photo(query, around.working_directory) if isinstance(query, str) else query for query in queries]
    pack = choose_pack(options.model, info)
    threshold = choose_threshold(options.threshold, find_calibration(pack.recogniser.sha256), 1)
    if threshold.minimum is None:
        raise UsageError(
            "there is no verdict without a threshold", threshold.describe(), hint="-t NUMBER, or facecli calibrate DIR"
        )
    source = ModelSource(pack, options.device, info, around.report)
    chosen = []
    with closing(read_photos(source, named, ReadingOptions(options.reading), around.stdin)) as photos:
        for photo in photos:
            if isinstance(photo, PhotoError):
                raise photo
            chosen.append(choose_faces(photo.query, photo.faces, options.face))
            warn_of_query(photo.query, photo.faces, chosen[-1], options.face, around.report)
    similarity, _, pair = max(
        (float(a.embedding @ b.embedding), -number, (a, b)) for number, (a, b) in enumerate(product(*chosen))
    )
    return Verdict(pair, similarity, threshold)
