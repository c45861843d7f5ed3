"""Names put into another program's XMP data: all else that its lists of regions hold stays as it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from facecli.errors import FacecliError
from facecli.regions import Region, write_items
from facecli.xmp import read_xmp
from facecli.xmp_merging import put_names

HEAD = """<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 5.6">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
 xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#" xmlns:apple-fi="http://ns.apple.com/faceinfo/1.0/"
 xmlns:MP="http://ns.microsoft.com/photo/1.2/" xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
 xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">"""
TAIL = "</rdf:Description></rdf:RDF></x:xmpmeta>"
MWG = """<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="400" stDim:h="300"
 stDim:unit="pixel"/><mwg-rs:RegionList><rdf:Bag>
<rdf:li><rdf:Description mwg-rs:Type="Face"><mwg-rs:Area stArea:x="0.1" stArea:y="0.1" stArea:w="0.1" stArea:h="0.1"
 stArea:unit="normalized"/></rdf:Description></rdf:li>
<rdf:li rdf:parseType="Resource"><mwg-rs:Name>Rex</mwg-rs:Name><mwg-rs:Type>Pet</mwg-rs:Type>
 <mwg-rs:Description>good dog</mwg-rs:Description><mwg-rs:Area stArea:x="0.5" stArea:y="0.1" stArea:w="0.1"
 stArea:h="0.1" stArea:unit="normalized"/></rdf:li>
<rdf:li><rdf:Description mwg-rs:Name="Eve" mwg-rs:Type="Face" mwg-rs:Rotation="0.1"><mwg-rs:Area stArea:x="0.5"
 stArea:y="0.5" stArea:w="0.2" stArea:h="0.2" stArea:unit="normalized"/><mwg-rs:Extensions
 apple-fi:AngleInfoYaw="270"/></rdf:Description></rdf:li>
</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"""
MP = """<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag>
<rdf:li MPReg:PersonDisplayName="Eve" MPReg:Rectangle="0.4, 0.4, 0.2, 0.2" MPReg:PersonEmailDigest="ABC"/>
<rdf:li MPReg:Rectangle="0.7, 0.7, 0.1, 0.1"/></rdf:Bag></MPRI:Regions></MP:RegionInfo>"""
IPTC = """<Iptc4xmpExt:PersonInImage><rdf:Bag><rdf:li>Eve</rdf:li><rdf:li>Far</rdf:li></rdf:Bag>
</Iptc4xmpExt:PersonInImage>"""
WHOLE = (HEAD + MWG + MP + IPTC + TAIL).encode()
CARLA = Region("Carla & Co", (0.8, 0.8, 0.9, 0.9))


def merged(data: bytes, *mine: Region) -> bytes:
    made = put_names(data, "x", mine)
    return write_items(made.items, made.people, (400, 300), "facecli 1 tag")


def said(path: Path, data: bytes) -> dict[str, Any]:
    """What exiftool reads."""
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    path.write_bytes(data)
    command = ["exiftool", "-json", "-struct", "-XMP:all", str(path)]
    (found,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert isinstance(found, dict)
    return found


def test_nothing_of_theirs_is_lost(tmp_path: Path) -> None:
    before, after = said(tmp_path / "a.xmp", WHOLE), said(tmp_path / "b.xmp", merged(WHOLE, CARLA))
    was, now = (one["RegionInfo"]["RegionList"] for one in (before, after))
    assert (now[:3], [one["Name"] for one in now[3:]]) == (was, ["Carla & Co"])
    was, now = (one["RegionInfoMP"]["Regions"] for one in (before, after))
    assert (now[:2], [one["PersonDisplayName"] for one in now[2:]]) == (was, ["Carla & Co"])
    assert after["PersonInImage"] == ["Eve", "Far", "Carla & Co"]


def test_a_region_of_the_same_face_gets_the_name_and_keeps_the_rest(tmp_path: Path) -> None:
    mine = (Region("Eva", (0.41, 0.41, 0.6, 0.6)), Region("Ada", (0.05, 0.05, 0.15, 0.15)))
    found = said(tmp_path / "a.xmp", merged(WHOLE, *mine))
    before = said(tmp_path / "b.xmp", WHOLE)
    unnamed, pet, eve = before["RegionInfo"]["RegionList"]
    assert found["RegionInfo"]["RegionList"] == [unnamed | {"Name": "Ada"}, pet, eve | {"Name": "Eva"}]
    eva, other, ada = found["RegionInfoMP"]["Regions"]
    assert (eva["PersonDisplayName"], eva["PersonEmailDigest"]) == ("Eva", "ABC")
    assert (other, ada["PersonDisplayName"]) == (before["RegionInfoMP"]["Regions"][1], "Ada")
    assert found["PersonInImage"] == ["Far", "Eva", "Ada"]


def test_a_second_time_changes_nothing() -> None:
    once = merged(WHOLE, CARLA)
    assert put_names(WHOLE, "x", [CARLA]).changed
    assert not put_names(once, "x", [CARLA]).changed


def test_names_of_one_list_come_into_the_other() -> None:
    found = read_xmp(merged((HEAD + MP + TAIL).encode(), CARLA), "x")
    assert {one.name for one in found.regions} == {"Eve", "Carla & Co"}
    assert merged((HEAD + MWG + TAIL).encode(), CARLA).count(b"Eve") == 2


def test_a_nest_is_refused() -> None:
    deep = WHOLE.replace(b"good dog", b"<a>" * 5000 + b"</a>" * 5000)
    with pytest.raises(FacecliError, match="nested"):
        put_names(deep, "x", [CARLA])
