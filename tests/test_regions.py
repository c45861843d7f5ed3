"""Regions of faces in XMP: written and read, turned by the orientation, and safe to read from a stranger."""

from __future__ import annotations

import pytest

from facecli.errors import FacecliError
from facecli.regions import Region, overlap, turned, upright, write_xmp
from facecli.xmp import read_xmp

FACES = (Region("Ada & <Grace>", (0.1, 0.2, 0.3, 0.5)), Region('Q "Ö" 李 نیک\u200cنوش', (0.5, 0.5, 0.75, 1.0)))
OTHERS = """<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Other 1.0">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:MP="http://ns.microsoft.com/photo/1.2/" xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
 xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#">
 %s</rdf:Description></rdf:RDF></x:xmpmeta>"""
ELEMENTS = """<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList><rdf:Seq>
 <rdf:li rdf:parseType="Resource"><mwg-rs:Name>Eve</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type>
 <mwg-rs:Area rdf:parseType="Resource"><stArea:x>0.5</stArea:x><stArea:y>0.5</stArea:y><stArea:w>0.2</stArea:w>
 <stArea:h>0.4</stArea:h></mwg-rs:Area></rdf:li>
 <rdf:li rdf:parseType="Resource"><mwg-rs:Name>Rex</mwg-rs:Name><mwg-rs:Type>Pet</mwg-rs:Type>
 <mwg-rs:Area stArea:x="0.1" stArea:y="0.1" stArea:w="0.1" stArea:h="0.1"/></rdf:li>
 </rdf:Seq></mwg-rs:RegionList></mwg-rs:Regions>"""
MICROSOFT = """<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag>
 <rdf:li MPReg:PersonDisplayName="Eve" MPReg:Rectangle="0.4, 0.3, 0.2, 0.4"/>
 <rdf:li MPReg:Rectangle="0.1, 0.1, 0.2, 0.4"/></rdf:Bag></MPRI:Regions></MP:RegionInfo>"""


def test_what_is_written_is_read() -> None:
    found = read_xmp(write_xmp(FACES, [face.name for face in FACES], (400, 300), "facecli 1"), "x")
    assert [region.name for region in found.regions] == [face.name for face in FACES]
    for region, face in zip(found.regions, FACES, strict=True):
        assert region.area == pytest.approx(face.area, abs=1e-6)
    assert (found.people, found.toolkit) == (tuple(face.name for face in FACES), "facecli 1")


@pytest.mark.parametrize("body", [ELEMENTS, MICROSOFT, MICROSOFT + ELEMENTS], ids=["MWG", "Microsoft", "both"])
def test_others_forms_are_read(body: str) -> None:
    (region,) = read_xmp((OTHERS % body).encode(), "x").regions
    assert (region.name, region.area) == ("Eve", pytest.approx((0.4, 0.3, 0.6, 0.7)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no xml",
        b"<a>",
        b'<!DOCTYPE a [<!ENTITY b "ha">]><a>&b;</a>',
        b"<a>" + b"x" * (17 << 20) + b"</a>",
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
    ],
)
def test_what_is_no_xmp_is_one_error(data: bytes) -> None:
    with pytest.raises(FacecliError):
        read_xmp(data, "photo.xmp")


@pytest.mark.parametrize("numbers", ["nan,0,1,1", "0,0,0,1", "0,0,-1,1", "5,5,1,1", "a,b,c,d", "0,0,1"])
def test_areas_that_are_none_are_left_out(numbers: str) -> None:
    assert read_xmp((OTHERS % MICROSOFT.replace("0.4, 0.3, 0.2, 0.4", numbers)).encode(), "x").regions == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_undone(orientation: int) -> None:
    area = (0.1, 0.2, 0.4, 0.7)
    assert upright(turned(area, orientation), orientation) == pytest.approx(area)
    assert (turned(area, orientation) == pytest.approx(area)) is (orientation == 1)


def test_overlaps() -> None:
    assert overlap((0, 0, 1, 1), (0, 0, 1, 1)) == 1
    assert overlap((0, 0, 0.5, 1), (0.5, 0, 1, 1)) == 0
    assert overlap((0, 0, 1, 1), (0, 0, 0.5, 1)) == pytest.approx(0.5)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_every_encoding_of_xmp_is_read(encoding: str) -> None:
    text = write_xmp(FACES, [], (400, 300), "facecli 1").decode().split("?>", 1)[1]
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    assert [one.name for one in read_xmp((mark + text.lstrip()).encode(encoding), "x").regions] == [
        one.name for one in FACES
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused_in_every_encoding(encoding: str) -> None:
    text = OTHERS % ELEMENTS
    read_xmp(text.encode(encoding), "x")
    with pytest.raises(FacecliError, match="more than XMP"):
        read_xmp(f"<!DOCTYPE x>{text}".encode(encoding), "x")
    assert len(read_xmp(text.replace("Eve", "&lt;!DOCTYPE").encode(encoding), "x").regions) == 1


def test_each_item_of_a_nest_of_lists_counts_once() -> None:
    start, end = "<mwg-rs:RegionList><rdf:Bag><rdf:li>", "</rdf:li></rdf:Bag></mwg-rs:RegionList>"
    inner = ELEMENTS.split("<mwg-rs:RegionList>")[1].split("</mwg-rs:RegionList>", maxsplit=1)[0]
    nest = start * 20 + f"<mwg-rs:RegionList>{inner}</mwg-rs:RegionList>" + end * 20
    assert [one.name for one in read_xmp((OTHERS % nest).encode(), "x").regions] == ["Eve"]


def test_more_regions_than_faces_are_refused() -> None:
    """Each is compared with each, so a million of them would take for ever."""
    regions = [Region("Ada", (0.0, 0.0, 0.1, 0.1))] * 2001
    assert len(read_xmp(write_xmp(regions[:2000], [], (1, 1), "-"), "here").regions) == 2000
    with pytest.raises(FacecliError, match="more regions than a photo has faces"):
        read_xmp(write_xmp(regions, [], (1, 1), "-"), "here")
