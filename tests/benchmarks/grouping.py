"""Measure how well faces are grouped into people, on photos sorted into one folder per person.

Usage: `python tests/benchmarks/grouping.py DIR [--index DIR] [--split] [--synthetic N] [--json]`.

DIR is indexed into --index (by default beside it, NAME.index) unless that exists. The face nearest to the middle of
each photo counts as the folder's person; the other faces are grouped, but not scored. facecli is compared with exact
average linkage and with Chinese whispers (Biemann 2006), each with the similarity that was best on LFW. --split scores
two halves of the people, each grouped by itself. --synthetic draws N faces after the model of those of DIR (seed 1),
with strangers and relatives. Times are processor time of grouping without kept edges.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
from people_scores import score
from people_synthetic import draw, fit

from facecli.people.group import group
from facecli.people.grouping import NOBODY, Decisions, Faces
from facecli.people.limits import DEFAULT
from facecli.reporting import SilentReporter
from facecli.similarity.best import joined
from facecli.similarity.neighbours import Known, Neighbourhood, find_neighbours
from facecli.store.reader import open_reader

AVERAGE, WHISPERS = 0.34, 0.44
MOST_FOR_LINKAGE = 20_000
"""Faces whose similarities, all of them, fit in memory."""
SEED = 1
Labelled = tuple[str, Faces, NDArray[np.int64]]
Row = dict[str, str | int | float]


def labelled(index: Path) -> tuple[Faces, NDArray[np.int64]]:
    """The faces of an index, and the person of each, -1 for bystanders."""
    rows, names = [], []
    with open_reader(index) as reader:
        for photo, faces in reader.photos_with_faces():
            if not faces:
                continue
            middle = np.array([photo.width, photo.height, photo.width, photo.height]) / 2
            away = [float(abs(np.array(face.box) + np.roll(face.box, 2) - 2 * middle).sum()) for face in faces]
            content = int.from_bytes(photo.digest[:8], "little", signed=True)
            for number, face in enumerate(faces):
                rows.append((face.face_id, content, face.box, face.score, face.embedding))
                names.append(Path(photo.file.path).parent.name if number == int(np.argmin(away)) else "")
    ids, contents, boxes, scores, codes = zip(*rows, strict=True)
    people = np.unique(names, return_inverse=True)[1]
    truth = np.where(np.array(names) == "", NOBODY, people)
    faces = Faces(
        np.array(ids, np.int64),
        np.array(contents, np.int64),
        np.array(boxes, np.float32),
        np.array(scores, np.float32),
        np.stack(codes).astype(np.float16),
    )
    return faces, truth


def halves(faces: Faces, truth: NDArray[np.int64]) -> Iterator[Labelled]:
    """Half of the people each, with the bystanders of their photos."""
    of_photo = dict(zip(faces.contents[truth >= 0].tolist(), truth[truth >= 0].tolist(), strict=True))
    whose = np.array([of_photo[content] for content in faces.contents.tolist()])
    first = np.random.default_rng(SEED).random(truth.max() + 1) < 0.5
    for name, rows in (("first half", first[whose]), ("second half", ~first[whose])):
        some = np.flatnonzero(rows)
        yield (
            name,
            replace(faces, **{field: getattr(faces, field)[some] for field in Faces.__struct_fields__}),
            truth[some],
        )


def by_facecli(faces: Faces) -> NDArray[np.int64]:
    return group(faces, Decisions(), DEFAULT, None, SilentReporter()).people.person


def by_average_linkage(faces: Faces) -> NDArray[np.int64]:
    """Exact average linkage over all pairs, cut at a mean similarity; without the rule of photos."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    wide = faces.codes.astype(np.float32)
    distances = 1 - wide @ wide.T
    np.fill_diagonal(distances, 0)
    flat = squareform(distances.clip(0), checks=False)
    return np.asarray(fcluster(linkage(flat, "average"), 1 - AVERAGE, "distance"), np.int64)


def by_whispers(faces: Faces) -> NDArray[np.int64]:
    """Chinese whispers: each face takes the label that its neighbours have most, by similarity, until none changes."""
    count = len(faces.face_ids)
    space = Neighbourhood(faces.codes, np.arange(count), 64, WHISPERS)
    pairs = find_neighbours(space, Known(np.arange(count), joined([])), SilentReporter())
    rows = np.concatenate([pairs.rows, pairs.others])
    order = np.argsort(rows, kind="stable")
    others = np.concatenate([pairs.others, pairs.rows])[order]
    weights = np.concatenate([pairs.similarities] * 2)[order]
    starts = np.searchsorted(rows[order], np.arange(count + 1))
    labels, random = np.arange(count), np.random.default_rng(0)
    for _ in range(20):
        changed = False
        for face in random.permutation(count).tolist():
            near = slice(starts[face], starts[face + 1])
            if near.stop > near.start:
                names, places = np.unique(labels[others[near]], return_inverse=True)
                best = names[np.argmax(np.bincount(places, weights[near]))]
                changed |= bool(best != labels[face])
                labels[face] = best
        if not changed:
            break
    return labels


METHODS: dict[str, Callable[[Faces], NDArray[np.int64]]] = {
    "facecli people": by_facecli,
    f"exact average linkage, {AVERAGE}": by_average_linkage,
    f"Chinese whispers, {WHISPERS}": by_whispers,
}


def measure(name: str, faces: Faces, truth: NDArray[np.int64]) -> Iterator[Row]:
    for method, find in METHODS.items():
        if find is by_average_linkage and len(truth) > MOST_FOR_LINKAGE:
            continue
        began = time.process_time()
        groups = find(faces)
        seconds = time.process_time() - began
        inside = groups >= 0
        photos = np.unique(np.stack([groups[inside], faces.contents[inside]]), axis=1, return_counts=True)
        yield {
            "set": name,
            "faces": len(truth),
            "method": method,
            **asdict(score(groups, truth)),
            "two_of_one_photo": int((photos[1] > 1).sum()),
            "seconds": round(seconds, 1),
        }


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--split", action="store_true")
    parser.add_argument("--synthetic", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    index = args.index or args.directory.with_name(f"{args.directory.name}.index")
    if not index.exists():
        command = [sys.executable, "-m", "facecli", "index", "-q", "-i", str(index), str(args.directory)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    faces, truth = labelled(index)
    sets: list[Labelled] = [(args.directory.name, faces, truth)]
    if args.split:
        sets += halves(faces, truth)
    if args.synthetic:
        sets.append(
            (f"{args.synthetic:,} drawn", *draw(fit(faces.codes.astype(np.float32), truth), args.synthetic, SEED))
        )
    rows = (row for one in sets for row in measure(*one))
    if args.json:
        sys.stdout.write(json.dumps(list(rows)) + "\n")
        return
    for number, row in enumerate(rows):
        if not number:
            sys.stdout.write(line(row) + line(["---"] * len(row)))
        sys.stdout.write(line(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()))
        sys.stdout.flush()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"\nmemory: {memory:.0f} MB\n")


def line(cells: Iterable[str]) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main()
