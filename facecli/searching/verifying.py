"""Whether two photos show the same person; needs no index."""

from __future__ import annotations

from contextlib import closing
from itertools import product

from msgspec import Struct

from facecli.config import SearchOptions
from facecli.errors import PhotoError, UsageError
from facecli.searching.calibrating import find_calibration
from facecli.searching.opening import ModelSource, choose_pack
from facecli.searching.query_parser import PhotoQuery, choose_faces, name_photo
from facecli.searching.reading import ReadingOptions, read_photos
from facecli.searching.search import Surroundings, check_stdin, warn_of_query
from facecli.store.records import IndexInfo
from facecli.thresholds import Threshold, choose_threshold
from facecli.types import QueryFace


class Verdict(Struct, frozen=True, eq=False):
    """How alike the two most alike of the chosen faces are."""

    faces: tuple[QueryFace, QueryFace]
    similarity: float
    threshold: Threshold

    @property
    def same(self) -> bool:
        """Whether it is the same person, as far as the threshold can tell."""
        return self.similarity >= (self.threshold.minimum or 0.0)


def verify_photos(
    queries: tuple[str | PhotoQuery, str | PhotoQuery],
    options: SearchOptions,
    around: Surroundings,
    info: IndexInfo | None,
) -> Verdict:
    """Compare a face of each photo, with `--face all` the pair that is most alike.

    Raises PhotoError where one cannot be read or has no such face.
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
