"""The library: an index from Python, the faces of a photo, whether two photos show the same person."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import facecli
from facecli import Choice, FacecliError, Index, PhotoError, Which
from facecli.config import IndexOptions, ScanOptions
from facecli.store.writer import IndexWriter

Sample = Callable[[str], Path]
MakeAlbum = Callable[[Path], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_album: MakeAlbum) -> Path:
    """An index of the album, which tests only read."""
    folder = tmp_path_factory.mktemp("library")
    make_album(folder / "album")
    with Index(folder / "faces.index") as index:
        index.add(folder / "album")
    return folder


@pytest.fixture
def index(made: Path) -> Index:
    return Index(made / "faces.index")


@pytest.fixture
def portrait(find_sample: Sample) -> Path:
    return find_sample("yaoming.jpg")


def test_paths_of_either_type_relative_and_absolute(
    tmp_path: Path, portrait: Path, monkeypatch: pytest.MonkeyPatch, make_album: MakeAlbum
) -> None:
    make_album(tmp_path / "album")
    monkeypatch.chdir(tmp_path)
    index = Index("faces.index")
    assert index.add(["album/sport", Path("album/party")]).photos.new == 3
    assert index.add(tmp_path / "album").photos.new == 1
    monkeypatch.chdir("/")
    assert index.info.photos == 4
    assert index.search(str(portrait), threshold="none")[0].path == str(tmp_path / "album/sport/players.jpg")


def test_every_kind_of_query_finds_the_same(index: Index, portrait: Path) -> None:
    pixels = np.asarray(Image.open(portrait).convert("RGB"))
    embedding = facecli.find_faces(portrait)[0].embedding
    asked: list[Any] = [
        str(portrait),
        portrait,
        portrait.read_bytes(),
        pixels,
        embedding,
        3 * embedding.astype(np.float64),
        [portrait],
    ]
    found = [index.search(query, top=3, threshold="none") for query in asked]
    assert len({tuple(match.face_id for match in matches) for matches in found}) == 1
    for matches in found:
        assert [m.similarity for m in matches] == pytest.approx([m.similarity for m in found[0]], abs=2e-3)


def test_ids_of_faces_may_be_numpys(index: Index) -> None:
    """As exports give them."""
    by_number, by_numpy = (index.search(face, top=3, threshold="none") for face in (16, np.int64(16)))
    assert list(by_number) == list(by_numpy)
    with pytest.raises(FacecliError, match="no such face"):
        index.remove(np.int64(99_999))


def test_an_embedding_may_be_a_masked_array(index: Index) -> None:
    embedding = next(iter(index)).embedding
    assert list(index.search(np.ma.masked_array(embedding))) == list(index.search(embedding))


def test_a_photo_is_named_from_home(
    index: Index, portrait: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(portrait.parent))
    monkeypatch.chdir(tmp_path)
    for query in (f"~/{portrait.name}", Path("~") / portrait.name):
        assert index.search(query)[0].path.endswith("players.jpg")
    assert facecli.verify(f"~/{portrait.name}", portrait).same
    with pytest.raises(FacecliError, match=f"no such directory: {portrait.parent}/pack"):
        Index(index.path, model="~/pack").search(portrait)


def test_a_path_object_is_a_photo_whoever_is_called_so(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "faces.index", tmp_path / "i")
    index = Index(tmp_path / "i")
    index.people.assign("Ann", [1])
    assert [match.face_id for match in index.search("Ann")] == [1]
    with pytest.raises(PhotoError, match="no such photo"):
        index.search(Path("Ann"))


def test_times_of_a_script_limit_a_search(index: Index) -> None:
    now = datetime.now()  # noqa: DTZ005 (the camera's clock has no zone)
    for time in (now, now.date()):
        assert len(index.search(1, after=time, threshold="none")) == 0
    with pytest.raises(FacecliError, match="not a time"):
        index.search(1, after=datetime.now(UTC))


def test_a_copy_of_an_index_has_models_of_its_own(index: Index, portrait: Path) -> None:
    found = list(index.search(portrait))
    iterator = iter(index)
    next(iterator)
    for copied in (pickle.loads(pickle.dumps(index)), copy.deepcopy(index)):
        assert (copied.path, list(copied.search(portrait))) == (index.path, found)


def test_a_removal_does_not_wait_for_iterators_of_its_own(made: Path, tmp_path: Path) -> None:
    """They cannot end meanwhile."""
    shutil.copytree(made / "faces.index", tmp_path / "i")
    index, waited = Index(tmp_path / "i"), []
    with pytest.MonkeyPatch.context() as patch:
        real = IndexWriter.remove
        patch.setattr(IndexWriter, "remove", lambda *given: waited.append(given[-1]) or real(*given))  # type: ignore[func-returns-value]
        iterator = iter(index)
        next(iterator)
        assert not index.remove(1).erased
        assert index.info.pending
        iterator.close()  # type: ignore[attr-defined]
        assert index.remove(2).erased
    assert waited[0] == 0.0 < waited[1]
    assert not index.info.pending


def test_a_face_of_the_index_leaves_itself_out(index: Index, portrait: Path) -> None:
    best = index.search(portrait, top=1, threshold="none")[0].face_id
    by_text, by_number = (
        index.search(f"face:{best}", top=5, by="face", threshold="none"),
        index.search(best, top=5, by="face", threshold="none"),
    )
    assert [m.face_id for m in by_text] == [m.face_id for m in by_number]
    assert best not in [m.face_id for m in by_text]


def test_several_queries_are_one_person(index: Index, portrait: Path) -> None:
    """The mean of two references is more similar to each than they are to each other."""
    best = index.search(portrait, top=1, threshold="none")[0]
    first = facecli.find_faces(portrait)[0].embedding
    other = next(face.embedding for face in index if face.face_id == best.face_id)
    mean = (first + other) / np.linalg.norm(first + other)
    both = index.search([first, other], top=1, threshold="none")
    assert both[0].face_id == best.face_id
    assert both[0].similarity == pytest.approx(float(mean @ other), abs=1e-3)


def test_the_faces_and_photos_are_those_that_were_found(index: Index, made: Path) -> None:
    faces = list(index)
    assert [face.face_id for face in faces] == list(range(1, 35))
    assert all(
        face.embedding.dtype == np.float32 and np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-3)
        for face in faces
    )
    photos = list(index.photos())
    assert [photo.file.path for photo, _ in photos] == sorted(photo.file.path for photo, _ in photos)
    assert sorted(face.face_id for _, found in photos for face in found) == [face.face_id for face in faces]
    players = made / "album/sport/players.jpg"
    assert [face.face_id for face in index.faces(players)] == [
        face.face_id for face in faces if face.path == str(players)
    ]


@pytest.mark.parametrize(("faces", "photos"), [(1, 1), (7, 3), (34, 4)])
def test_pages_of_any_size_give_all(index: Index, faces: int, photos: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facecli.store.catalog.queries.FACE_PAGE", faces)
    monkeypatch.setattr("facecli.store.catalog.queries.PHOTO_PAGE", photos)
    assert [face.face_id for face in index] == list(range(1, 35))
    assert [len(found) for _, found in index.photos()] == [photo.faces for photo, _ in index.photos()]


def test_an_index_can_be_changed_while_it_is_read(tmp_path: Path, make_album: MakeAlbum) -> None:
    """Each call sees its own state."""
    index = Index(tmp_path / "i")
    index.add(make_album(tmp_path / "album"))
    faces = iter(index)
    first = next(faces)
    removed = index.remove(tmp_path / "album/space")
    assert [photo.file.path for photo in removed.photos] == [str(tmp_path / "album/space/astronaut.png")]
    assert len([first, *faces]) == 34
    assert index.info.photos == 3
    assert index.check() == []
    assert index.remove(1).faces[0].face_id == 1
    assert index.remove("face:2").faces[0].face_id == 2
    assert index.add().photos.new == 0


def test_models_stay_open_until_the_end(index: Index, portrait: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    from facecli.searching import opening

    real = opening.open_served
    monkeypatch.setattr(opening, "open_served", lambda *rest: opened.append(1) or real(*rest))  # type: ignore[func-returns-value]
    with index:
        first = index.search(portrait)
        second = index.search(portrait)
    assert (len(opened), list(first)) == (1, list(second))
    index.search(portrait)
    assert len(opened) == 2


def test_progress_goes_where_it_is_wanted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make_album: MakeAlbum
) -> None:
    from facecli.reporting import SilentReporter

    class Counting(SilentReporter):
        done = 0

        def advance(self, done: int, **counts: int) -> None:
            self.done += done

    counting = Counting()
    Index(tmp_path / "i").add(make_album(tmp_path / "album"), progress=counting)
    assert counting.done == 4
    Index(tmp_path / "i").add(tmp_path / "album", progress=True)
    assert capfd.readouterr().out == ""


def test_exclusions_and_options(tmp_path: Path, make_album: MakeAlbum) -> None:
    make_album(tmp_path / "album")
    report = Index(tmp_path / "i").add(tmp_path / "album", exclude="party/", options=IndexOptions(dry_run=True))
    assert report.photos.new == 2
    assert not (tmp_path / "i").exists()


def test_verify_tells_people_apart(portrait: Path, find_sample: Sample) -> None:
    assert facecli.verify(portrait, portrait.read_bytes()).same
    different = facecli.verify(portrait, find_sample("astronaut.png"))
    assert not different.same
    assert different.similarity < 0.2
    with pytest.raises(FacecliError):
        facecli.verify(portrait, "face:1")


WRONG: dict[str, Callable[[Index, str], object]] = {
    "face 0": lambda i, q: i.search(q, face="0"),
    "face -1": lambda i, q: i.search(q, face=-1),
    "face second": lambda i, q: i.search(q, face="second"),
    "all faces": lambda i, q: i.search(q, face="all"),
    "a missing face": lambda i, q: i.search(q, face=9),
    "top": lambda i, q: i.search(q, top=-1),
    "threshold": lambda i, q: i.search(q, threshold=1.5),
    "a threshold's name": lambda i, q: i.search(q, threshold="lose"),
    "top None": lambda i, q: i.search(q, top=None),  # type: ignore[arg-type]
    "a threshold of thousands of digits": lambda i, q: i.search(q, threshold=10**5000),
    "a face of thousands of digits": lambda i, q: i.search(q, face=10**5000),
    "by several": lambda i, q: i.search(q, by=np.array(["photo", "face"])),  # type: ignore[arg-type]
    "by": lambda i, q: i.search(q, by="person"),  # type: ignore[arg-type]
    "an empty query": lambda i, _: i.search(""),
    "no query": lambda i, _: i.search([]),
    "None": lambda i, _: i.search(None),  # type: ignore[arg-type]
    "a missing query": lambda i, _: i.search("gone.jpg"),
    "a face id of thousands of digits": lambda i, _: i.search(10**5000),
    "embeddings of two lengths": lambda i, _: i.search([np.ones(512), np.ones(3)]),
    "a missing face id": lambda i, _: i.search(99_999),
    "bytes of no image": lambda i, _: i.search(b"no image"),
    "bytes that are ids of faces": lambda i, _: i.search(bytearray([1, 2])),  # type: ignore[arg-type]
    "gray pixels": lambda i, _: i.search(np.zeros((9, 9), np.uint8)),
    "a zero embedding": lambda i, _: i.search(np.zeros(512)),
    "an infinite embedding": lambda i, _: i.search(np.full(512, np.inf)),
    "a short embedding": lambda i, _: i.search(np.ones(3)),
    "add an empty name": lambda i, _: i.add(""),
    "add bytes": lambda i, _: i.add([b"album"]),  # type: ignore[list-item]
    "add a number": lambda i, _: i.add(5),  # type: ignore[arg-type]
    "add a name with a zero byte": lambda i, _: i.add("a\0b"),
    "add a name that no file has": lambda i, _: i.add("\ud800"),
    "options that are none": lambda i, _: i.add("gone", options={"force": True}),  # type: ignore[arg-type]
    "a pattern that is none": lambda i, q: i.add(q, exclude=[5]),  # type: ignore[list-item]
    "progress that is none": lambda i, q: i.add(q, progress="bar"),  # type: ignore[arg-type]
    "add what is missing": lambda i, _: i.add("gone"),
    "remove an empty name": lambda i, _: i.remove(""),
    "remove nothing": lambda i, _: i.remove(),
    "remove yes": lambda i, _: i.remove(True),
    "remove a number of thousands of digits": lambda i, _: i.remove(10**5000),
    "remove a face of thousands of digits": lambda i, _: i.remove(f"face:{'9' * 5000}"),
    "remove None": lambda i, _: i.remove(None),  # type: ignore[arg-type]
    "remove several, one of which is none": lambda i, _: i.remove(1, 1.5),  # type: ignore[arg-type]
    "near a number": lambda i, q: i.search(q, near=5),  # type: ignore[arg-type]
    "a person None": lambda i, _: i.people.assign(None, [1]),  # type: ignore[arg-type]
    "a person and a half": lambda i, _: i.people.assign(1.5, [1]),  # type: ignore[arg-type]
    "a person of thousands of digits": lambda i, _: i.people.faces(10**5000),
    "no name": lambda i, _: i.people.name(1, None),  # type: ignore[arg-type]
    "forget None": lambda i, _: i.people.forget(None),  # type: ignore[arg-type]
    "faces in a text": lambda i, _: i.people.assign("Ann", "1"),  # type: ignore[arg-type]
    "half a face": lambda i, _: i.people.assign("Ann", [1.0]),  # type: ignore[list-item]
    "a face of a person of thousands of digits": lambda i, _: i.people.assign("Ann", [10**5000]),
    "no cover": lambda i, _: i.people.set_cover(1, None),  # type: ignore[arg-type]
    "merge nobody": lambda i, _: i.people.merge(),
    "a threshold of no number": lambda i, _: i.people.update(float("nan")),
    "a threshold in words": lambda i, _: i.people.update("auto"),  # type: ignore[arg-type]
    "a choice in words": lambda i, _: i.people.listed("named"),  # type: ignore[arg-type]
    "a choice of nobody": lambda _, __: Choice("everybody"),  # type: ignore[arg-type]
    "remove what is missing": lambda i, _: i.remove("gone.jpg"),
    "faces of what is missing": lambda i, _: i.faces("gone.jpg"),
    "an index that is no path": lambda _, __: Index(5),  # type: ignore[arg-type]
    "an empty index": lambda _, __: Index(""),
    "no such device": lambda i, q: Index(i.path, device="cuda:77").search(q),
    "a device that is no text": lambda i, q: Index(i.path, device=0).search(q),  # type: ignore[arg-type]
    "a model that is no text": lambda _, q: facecli.find_faces(q, model=5),  # type: ignore[arg-type]
    "no such model": lambda i, q: Index(i.path, model="nobody").search(q),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG.keys())
def test_wrong_values_raise_and_do_nothing(call: Callable[[Index, str], object], index: Index, portrait: Path) -> None:
    before = index.info.generation
    with pytest.raises(FacecliError):
        call(index, str(portrait))
    assert index.info.generation == before


@pytest.mark.parametrize("length", [1e-300, 1e-30, 1e30, 1e300])
def test_an_embedding_may_have_any_length(index: Index, length: float) -> None:
    embedding = next(iter(index)).embedding.astype(np.float64)
    assert index.search(embedding * length, top=1)[0].similarity == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "made",
    [
        lambda: IndexOptions(force="no"),  # type: ignore[arg-type]
        lambda: IndexOptions(prune="never"),  # type: ignore[arg-type]
        lambda: IndexOptions(jobs=None),  # type: ignore[arg-type]
        lambda: IndexOptions(jobs=True),
        lambda: IndexOptions(model=5),  # type: ignore[arg-type]
        lambda: IndexOptions(scan="album"),  # type: ignore[arg-type]
        lambda: ScanOptions(recursive="no"),  # type: ignore[arg-type]
        lambda: ScanOptions(exclude=None),  # type: ignore[arg-type]
    ],
)
def test_options_of_another_kind_are_refused(made: Callable[[], object]) -> None:
    """`force="no"` would force."""
    with pytest.raises(FacecliError):
        made()


@pytest.mark.parametrize(
    "call", [lambda i: i.search("x.jpg"), list, lambda i: i.info, lambda i: i.remove("x.jpg"), lambda i: i.check()]
)
def test_only_add_makes_an_index(call: Callable[[Index], object], tmp_path: Path) -> None:
    with pytest.raises(facecli.FacecliError, match="there is no index"):
        call(Index(tmp_path / "i"))
    assert not (tmp_path / "i").exists()


def test_reprs_are_short(index: Index, portrait: Path) -> None:
    matches = index.search(portrait, threshold="none")
    found = matches, matches[0], matches.query, matches.threshold, facecli.verify(portrait, portrait)
    shown = [repr(thing) for thing in (index, *found, next(iter(index)), next(index.photos())[0])]
    assert all(len(text.replace(str(portrait), portrait.name)) < 400 for text in shown), shown


SCRIPT = """
import facecli
index = facecli.Index(Path("photos"), model=Path("pack"))
paths = ["a.jpg", "b.jpg"]
matches: facecli.Matches = index.search(paths, after=date.today(), near=(48.2, 16.4), under=[Path("a"), "b"])
matches = index.search([face.embedding for face in facecli.find_faces(b"")], top=3, face=1, by="face")
best: tuple[facecli.Match, ...] = matches[:2]
report: facecli.IndexReport = index.add([Path("a")], exclude=None, options=facecli.IndexOptions(jobs=2))
removal: facecli.Removal = index.remove(1, "a.jpg", Path("b"), np.int64(2))
people: list[facecli.PersonInfo] = index.people.listed(facecli.Choice(facecli.Which.ALL))
person: int = index.people.assign("Ann", np.array([1, 2]))
stored: list[tuple[facecli.StoredPhoto, list[facecli.StoredFace]]] = list(index.photos())
embeddings: list[NDArray[np.float32]] = [face.embedding for face in index]
try:
    verdict: facecli.Verdict = facecli.verify(paths[0], np.zeros((9, 9, 3), np.uint8))
except facecli.IndexMissing as error:
    print(error.what, error.where, error.hint)
"""


@pytest.mark.slow
def test_the_types_fit_a_script(tmp_path: Path) -> None:
    """By what the package says of its types."""
    head = "from datetime import date\nfrom pathlib import Path\nimport numpy as np\nfrom numpy.typing import NDArray\n"
    (tmp_path / "script.py").write_text(head + SCRIPT)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Success"), done.stdout + done.stderr


def test_the_public_names_are_there_and_say_what_they_are() -> None:
    script = (
        "import sys, facecli; print(sorted({'numpy', 'cv2', 'faiss', 'onnxruntime', 'insightface'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": ""}
    )
    assert done.stdout == "[]\n"
    for name in facecli.__all__:
        assert getattr(facecli, name)
        assert name == "__version__" or getattr(facecli, name).__doc__.strip()
    assert set(facecli.__all__) <= set(dir(facecli))
    with pytest.raises(AttributeError):
        facecli.nothing  # noqa: B018


def test_without_a_working_directory_only_relative_names_fail(
    index: Index, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert len(index.search(portrait, threshold="none", top=2)) == 2
    for call in (
        lambda: Index("i"),
        lambda: index.add("album"),
        lambda: index.search("x.jpg"),
        lambda: index.search(portrait, under="album"),
        lambda: facecli.find_faces(Path("x.jpg")),
    ):
        with pytest.raises(FacecliError):
            call()


def test_merged_indexes_answer_as_one(made: Path, tmp_path: Path, portrait: Path) -> None:
    for number in (1, 2):
        Index(tmp_path / f"part{number}").add(made / "album", options=IndexOptions(part=f"{number}/2"))
    Index(tmp_path / "part1").people.assign("Anna", [1])
    index = Index(tmp_path / "all")
    report = index.merge(tmp_path / "part1", str(tmp_path / "part2"))
    assert (report.photos.new, report.faces.added, index.check()) == (4, 34, [])
    assert [one.name for one in index.people.listed(Choice(Which.NAMED))] == ["Anna"]
    assert index.search(portrait)[0].path == str(made / "album/sport/players.jpg")
    with pytest.raises(FacecliError):
        index.merge(made / "nowhere")


def test_searches_and_exports_are_limited_to_some_photos(index: Index, made: Path, tmp_path: Path) -> None:
    sport = {match.path for match in index.search("face:1", threshold="none", top=0, under=made / "album/sport")}
    assert sport == {str(made / "album/sport/players.jpg")}
    assert len(index.search("face:1", threshold="none", top=0, after=1900, near=(48.2, 16.37, 5))) == 0
    with np.load((index.export(tmp_path / "faces.npz"), tmp_path / "faces.npz")[1]) as arrays:
        assert arrays["embedding"].shape == (34, 512)
    under = [made / "album/sport", made / "album/party/t1.jpg"]
    assert index.export(tmp_path / "some.csv", photos=True, under=under) == 2
    assert len((tmp_path / "some.csv").read_text().splitlines()) == 3
    for wrong, said in (
        ({"after": "soon"}, "not a time"),
        ({"near": (91, 0)}, "not a place"),
        ({"within": 3}, "not a limit"),
        ({"person": "Nobody"}, "no such person"),
        ({}, "a file of that name already"),
    ):
        with pytest.raises(FacecliError, match=said):
            index.export(tmp_path / "faces.npz", **wrong)  # type: ignore[arg-type]
    assert index.export(tmp_path / "faces.npz", force=True, embeddings=False) == 34
