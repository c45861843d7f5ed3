"""Names leave to photo managers and come back: XMP sidecars, checked by exiftool."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from facecli import __version__
from facecli.errors import FacecliError
from facecli.sidecar_files import SharedFile
from facecli.xmp import read_xmp

if TYPE_CHECKING:
    from conftest import Shell

TURNS = {1: (), 6: (Image.Transpose.ROTATE_90,), 3: (Image.Transpose.ROTATE_180,)}


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, find_sample: Callable[[str], Path], shell_in: Callable[[Path], Shell]
) -> tuple[Path, int]:
    """Three photos that lie in different ways and show the same six people, and on how many one with a name is.

    The index `fresh` has no names.
    """
    folder = tmp_path_factory.mktemp("sidecars")
    (folder / "album").mkdir()
    upright = Image.open(find_sample("t1.jpg")).convert("RGB")
    for orientation, turns in TURNS.items():
        stored, exif = upright, Image.Exif()
        for turn in turns:
            stored = stored.transpose(turn)
        exif[0x0112] = orientation
        stored.save(folder / f"album/o{orientation}.jpg", quality=97, exif=exif)
    shell = shell_in(folder)
    for name in (".facecli", "fresh"):
        shell("index", "-q", "-i", name, "album")
    people = [json.loads(line) for line in shell("people", "--json", "--min-photos", "1").out.splitlines()]
    shell("people", "name", str(people[0]["person"]), "Carla & Región")
    return folder, int(people[0]["photos"])


@pytest.fixture
def named(shell: Shell, made: tuple[Path, int]) -> int:
    """The number of photos of a person who has a name."""
    folder, photos = made
    shutil.copytree(folder, shell.work, dirs_exist_ok=True)
    return photos


def photos_of(shell: Shell, *where: str) -> set[str]:
    found = shell("search", *where, "--json", "-k", "0", "person:Carla & Región").out
    return {Path(json.loads(line)["path"]).name for line in found.splitlines()}


def exiftool(*arguments: str) -> str:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    return subprocess.run(["exiftool", *arguments], capture_output=True, check=True, text=True).stdout


def test_names_go_out_and_come_back(shell: Shell, named: int) -> None:
    ran = shell("export", "--xmp")
    assert f"{named} sidecars written" in ran.errors
    assert "has a name" not in ran.errors
    shell("people", "import", "--xmp", "-i", "fresh")
    assert photos_of(shell, "-i", "fresh") == photos_of(shell) == {f"o{orientation}.jpg" for orientation in TURNS}
    assert f"{named} as they were" in shell("export", "--xmp").errors, "a second time nothing is written"


def test_exiftool_is_content_and_reads_the_names(shell: Shell, named: int) -> None:
    shell("export", "--xmp")
    for orientation in TURNS:
        path = str(shell.work / f"album/o{orientation}.jpg.xmp")
        assert "Validate                        : OK" in exiftool("-validate", path)
        (said,) = json.loads(exiftool("-json", "-struct", "-XMP:all", path))
        (region,) = said["RegionInfo"]["RegionList"]
        assert (region["Name"], said["PersonInImage"]) == ("Carla & Región", ["Carla & Región"])
        with Image.open(shell.work / f"album/o{orientation}.jpg") as photo:
            size = said["RegionInfo"]["AppliedToDimensions"]
            assert (size["W"], size["H"]) == photo.size
    assert named == 3


def test_another_programs_sidecar_keeps_what_it_has(shell: Shell, named: int) -> None:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    path = shell.work / "album/o1.jpg.xmp"
    area = "Area={X=.05,Y=.05,W=.04,H=.04,Unit=normalized}"
    region = f"{{AppliedToDimensions={{W=10,H=10,Unit=pixel}},RegionList=[{{Name=Rex,Type=Face,{area}}}]}}"
    exiftool("-XMP:Title=Mine", f"-RegionInfo={region}", "-XMP-iptcExt:PersonInImage=Rex", str(path))
    ran = shell("export", "--xmp")
    assert "1 merged" in ran.errors
    (said,) = json.loads(exiftool("-json", "-struct", "-XMP:all", str(path)))
    assert said["Title"] == "Mine"
    assert {one["Name"] for one in said["RegionInfo"]["RegionList"]} == {"Rex", "Carla & Región"}
    assert set(said["PersonInImage"]) == {"Rex", "Carla & Región"}
    assert named == 3


def test_a_sidecar_that_exiftool_would_not_keep_whole_is_left(shell: Shell, named: int) -> None:
    """It leaves out what it does not know of a region, without a word."""
    shell("export", "--xmp")
    path = shell.work / "album/o1.jpg.xmp"
    known = path.read_text().replace("facecli ", "Other ")
    path.write_text(known.replace("<mwg-rs:Area", "<mwg-rs:Rotation>0.2</mwg-rs:Rotation><mwg-rs:Area"))
    shell("people", "name", "Carla & Región", "Carla")
    assert "1 merged" in shell("export", "--xmp").errors
    assert exiftool("-s3", "-RegionRotation", str(path)) == "0.2\n"
    own = 'xmlns:my="http://example.org/" my:thing="x" '
    path.write_text(known.replace("<mwg-rs:Area ", f"<mwg-rs:Area {own}"))
    before = path.read_text()
    assert "exiftool would lose thing" in shell("export", "--xmp", code=3).errors
    assert path.read_text() == before
    assert named == 3


def test_without_exiftool_another_programs_sidecar_is_left_with_a_line(shell: Shell, named: int) -> None:
    path = shell.work / "album/o1.jpg.xmp"
    path.write_text('<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Other"/>')
    (shell.work / "album/o3.jpg.xmp").write_text("broken")
    ran = shell("export", "--xmp", code=3, env={"PATH": "/nonexistent"})
    assert "exiftool is missing" in ran.errors
    assert "no XML" in ran.errors
    assert path.read_text().endswith('x:xmptk="Other"/>')
    assert named == 3


def test_a_dry_run_writes_nothing_and_a_changed_photo_is_left(shell: Shell, named: int) -> None:
    with Image.open(shell.work / "album/o3.jpg") as photo:
        photo.transpose(Image.Transpose.ROTATE_90).save(shell.work / "album/o3.jpg")
    ran = shell("export", "--xmp", "--dry-run", code=3)
    assert "changed" in ran.errors
    assert ran.errors.count("would write 1 name: ") == named - 1
    assert f"\n{named - 1} sidecars would be written, " in ran.errors
    assert list((shell.work / "album").glob("*.xmp")) == []


def test_into_the_photos_on_request(shell: Shell, named: int) -> None:
    photo = shell.work / "album/o6.jpg"
    exiftool("-overwrite_original", "-XMP:Title=Mine", str(photo))
    shell("index", "-q")
    ran = shell("export", "--xmp", "--into-photos")
    assert "photos that get names change" in ran.errors
    (said,) = json.loads(exiftool("-json", "-struct", "-XMP:all", str(photo)))
    assert (said["Title"], said["PersonInImage"]) == ("Mine", ["Carla & Región"])
    assert list((shell.work / "album").glob("*.xmp")) == []
    shell("index", "-q", "-i", "fresh", "album")
    shell("people", "import", "--xmp", "-i", "fresh")
    assert len(photos_of(shell, "-i", "fresh")) == named
    assert named == 3


def test_names_without_a_face_are_told(shell: Shell, named: int) -> None:
    shell("export", "--xmp")
    path = shell.work / "album/o1.jpg.xmp"
    (region,) = read_xmp(path.read_bytes(), "").regions
    moved = path.read_text().replace(f'stArea:x="{(region.area[0] + region.area[2]) / 2:.6f}"', 'stArea:x="0.990000"')
    path.write_text(moved)
    ran = shell("people", "import", "--xmp", "-i", "fresh", code=3)
    assert "no face where Carla & Región is" in ran.errors
    assert __version__ in path.read_text()
    assert named == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--xmp", "file.jsonl"], "beside the photos"),
        ([], "no file"),
        (["--into-photos", "x.jsonl"], "needs --xmp"),
        (["--xmp", "--person", "Nobody"], "no such person"),
    ],
)
def test_what_is_wrong_is_one_line(shell: Shell, named: int, arguments: list[str], said: str) -> None:
    assert said in shell("export", *arguments, code=2).errors
    assert named == 3


def names_in(shell: Shell, orientation: int = 1) -> set[str]:
    path = shell.work / f"album/o{orientation}.jpg.xmp"
    return {region.name for region in read_xmp(path.read_bytes(), str(path)).regions}


def test_a_name_that_is_taken_back_leaves_its_sidecars(shell: Shell, named: int) -> None:
    shell("export", "--xmp")
    assert names_in(shell) == {"Carla & Región"}
    shell("people", "undo")
    assert f"{named} sidecars written" in shell("export", "--xmp").errors
    assert [names_in(shell, orientation) for orientation in TURNS] == [set()] * named
    path = str(shell.work / "album/o1.jpg.xmp")
    assert "Validate                        : OK" in exiftool("-validate", path)
    assert "0 sidecars written" in shell("export", "--xmp").errors


def test_one_persons_sidecars_keep_the_others(shell: Shell, named: int) -> None:
    people = [json.loads(line)["person"] for line in shell("people", "--json", "--all").out.splitlines()]
    shell("people", "name", str(people[1]), "Ben")
    shell("export", "--xmp")
    shell("people", "name", "Ben", "Benjamin")
    shell("export", "--xmp", "--person", "Benjamin")
    assert names_in(shell) == {"Carla & Región", "Benjamin"}
    assert named == 3


def test_what_another_index_wrote_stays_until_it_is_imported(shell: Shell, named: int) -> None:
    shell("export", "--xmp")
    written = shell("export", "--xmp", "-i", "fresh").errors
    assert "0 sidecars written" in written
    assert "no face in these photos has a name: facecli people name" in written
    assert names_in(shell) == {"Carla & Región"}
    known = shell("people", "--json", "--all", "-i", "fresh").out.splitlines()
    mine = {json.loads(line)["path"] for line in shell("search", "--json", "person:Carla & Región").out.splitlines()}
    assert len(mine) == named
    shell("people", "import", "--xmp", "-i", "fresh")
    other = next(
        one["person"]
        for one in map(json.loads, shell("people", "--json", "--all", "-i", "fresh").out.splitlines())
        if one["name"] is None
    )
    assert len(known) == 6
    shell("people", "name", "-i", "fresh", str(other), "Ben")
    shell("people", "name", "-i", "fresh", "Carla & Región", "Carla")
    shell("export", "--xmp", "-i", "fresh")
    shell("people", "undo", "-i", "fresh")
    shell("people", "undo", "-i", "fresh")
    shell("export", "--xmp", "-i", "fresh")
    assert names_in(shell) == {"Carla & Región"}


def test_people_who_were_told_apart_come_back_so(shell: Shell, named: int) -> None:
    listed = [json.loads(line) for line in shell("people", "--json", "--faces", "--all").out.splitlines()]
    second = {Path(face["path"]).name: face["face_id"] for face in listed if face["person"] == 2}
    shell("people", "name", "2", "Cleo")
    shell("people", "assign", "Dora", f"face:{second['o6.jpg']}")

    def who(*where: str) -> set[tuple[str, str, str]]:
        lines = shell("people", "--json", "--faces", "--named", "--min-photos", "1", *where).out.splitlines()
        return {(face["name"], Path(face["path"]).name, str(face["box"])) for face in map(json.loads, lines)}

    shell("export", "--xmp")
    shell("people", "import", "--xmp", "-i", "fresh")
    assert who("-i", "fresh") == who()
    assert len(who()) == named + 3


def test_one_wrong_name_does_not_rename_a_person(shell: Shell, named: int) -> None:
    shell("export", "--xmp")
    path = shell.work / "album/o6.jpg.xmp"
    path.write_text(path.read_text().replace("Carla &amp; Región", "Zoe"))
    shell("people", "import", "--xmp", "-i", "fresh")
    assert photos_of(shell, "-i", "fresh") == {"o1.jpg", "o3.jpg"}
    assert named == 3


def test_what_an_editor_added_to_a_sidecar_of_facecli_stays(shell: Shell, named: int) -> None:
    shell("export", "--xmp")
    path = shell.work / "album/o1.jpg.xmp"
    rating = '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF>'
    path.write_text(path.read_text().replace("</rdf:RDF>", rating))
    shell("people", "name", "Carla & Región", "Carla")
    assert "merged" in shell("export", "--xmp", code=None).errors
    assert json.loads(exiftool("-json", "-XMP-xmp:all", str(path)))[0]["Rating"] == 4
    assert names_in(shell) == {"Carla"}
    assert json.loads(exiftool("-json", "-PersonInImage", str(path)))[0]["PersonInImage"] == "Carla"
    assert named == 3


def test_links_modes_and_read_only_sidecars_are_respected(shell: Shell, named: int) -> None:
    shell("export", "--xmp")
    album = shell.work / "album"
    os.rename(album / "o1.jpg.xmp", shell.work / "kept.xmp")
    os.symlink(shell.work / "kept.xmp", album / "o1.jpg.xmp")
    (shell.work / "kept.xmp").chmod(0o664)
    (album / "o3.jpg.xmp").chmod(0o444)
    (album / "o6.jpg.xmp").unlink()
    os.symlink(shell.work / "nowhere.xmp", album / "o6.jpg.xmp")
    shell("people", "name", "Carla & Región", "Carla")
    ran = shell("export", "--xmp", code=3)
    assert "1 sidecar written" in ran.errors
    assert "2 left out" in ran.errors
    assert (album / "o1.jpg.xmp").is_symlink()
    assert ">Carla<" in (shell.work / "kept.xmp").read_text()
    assert (shell.work / "kept.xmp").stat().st_mode & 0o777 == 0o664
    assert "read-only" in ran.errors
    assert names_in(shell, 3) == {"Carla & Región"}
    assert "leads nowhere" in ran.errors
    assert not (shell.work / "nowhere.xmp").exists()
    assert named == 3


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_sidecar_has_the_permissions_of_any_new_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        SharedFile(str(tmp_path / "new.xmp")).replace(b"new")
    finally:
        assert os.umask(before) == umask
    assert (tmp_path / "new.xmp").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_sidecar_that_somebody_else_writes_meanwhile_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.xmp"
    path.write_text("before")
    known, new = SharedFile(str(path)), SharedFile(str(tmp_path / "b.xmp"))
    path.write_text("theirs, later")
    (tmp_path / "b.xmp").write_text("theirs")
    for one in (known, new):
        with pytest.raises(FacecliError, match="just written it"):
            one.replace(b"mine")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.xmp", "b.xmp"]
    assert path.read_text() == "theirs, later"


def test_names_come_from_both_sidecars_and_the_photo(shell: Shell, named: int) -> None:
    people = [json.loads(line)["person"] for line in shell("people", "--json", "--all").out.splitlines()]
    shell("people", "name", str(people[1]), "Ben")
    shell("people", "name", str(people[2]), "Cleo")
    album = shell.work / "album"
    shell("export", "--xmp", "--person", "Ben", "--under", "album/o1.jpg")
    os.rename(album / "o1.jpg.xmp", album / "o1.xmp")
    shell("export", "--xmp", "--person", "Cleo", "--under", "album/o1.jpg")
    os.rename(album / "o1.jpg.xmp", shell.work / "cleo.xmp")
    (album / "o1.jpg.xmp").write_text('<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Without regions"/>')
    exiftool("-overwrite_original", "-tagsFromFile", str(shell.work / "cleo.xmp"), "-XMP:all", str(album / "o1.jpg"))
    shell("index", "-q", "-i", "fresh", "album")
    assert "2 names found" in shell("people", "import", "--xmp", "-i", "fresh").errors
    assert named == 3


def test_regions_of_the_upright_picture_are_taken_as_such(shell: Shell, named: int) -> None:
    """As the size that they say they are parts of tells."""
    shell("export", "--xmp")
    album = shell.work / "album"
    shutil.copy(album / "o1.jpg.xmp", album / "o6.jpg.xmp")
    shell("people", "import", "--xmp", "-i", "fresh")
    assert photos_of(shell, "-i", "fresh") == {f"o{orientation}.jpg" for orientation in TURNS}
    assert named == 3


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("kind", ["pipe", "device", "directory"])
def test_what_is_no_file_is_never_opened_for_a_sidecar(shell: Shell, kind: str) -> None:
    for suffix in (".jpg.xmp", ".xmp"):
        place = shell.work / f"album/o1{suffix}"
        if kind == "pipe":
            os.mkfifo(place)
        elif kind == "device":
            place.symlink_to("/dev/zero")
        else:
            place.mkdir()
    for arguments in (("export", "--xmp"), ("people", "import", "--xmp")):
        done = shell(*arguments, code=3)
        assert "not a regular file: " in done.errors
        assert "o1.jpg.xmp" in done.errors


def test_a_name_too_long_for_a_sidecar_costs_the_others_nothing(shell: Shell, named: int) -> None:
    long = shell.work / f"album/{'n' * 251}.jpg"
    (shell.work / "album/o1.jpg").rename(long)
    shell("index", "album")
    done = shell("export", "--xmp", code=3)
    assert f"cannot be written (File name too long): {long}.xmp" in done.errors
    assert f"{named - 1} sidecars written" in done.errors
    shell("people", "import", "--xmp")
