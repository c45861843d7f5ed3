"""The kind of a file by its name: an image, or another kind of file, which a scan ignores."""

from __future__ import annotations

IMAGE = "image"

RAW_EXTENSIONS = frozenset(
    b"3fr ari arw bay cap cr2 cr3 crw dcr dcs dng drf eip erf fff gpr iiq k25 kdc mdc mef mos mrw nef nrw orf "
    b"pef ptx pxn raf raw rw2 rwl rwz "
    b"sr2 srf srw x3f".split()
)
_EXTENSIONS: dict[str, bytes] = {
    IMAGE: b"jpg jpeg jpe jfif jif mpo png apng webp gif bmp dib tif tiff avif avifs heic heif heics heifs hif "
    b"jxl jp2 j2k j2c jpc jpf jpx psd psb "
    b"pbm pgm ppm pnm qoi " + b" ".join(RAW_EXTENSIONS),
    "video": b"3g2 3gp asf avi dv f4v flv insv lrv m2t m2ts m2v m4v mkv mod mov mp4 mpe mpeg mpg mts mxf ogm "
    b"ogv qt rm rmvb tod ts vob webm wmv",
    "audio": b"aac aif aiff amr ape flac m4a m4b mid midi mka mp3 oga ogg opus wav wma",
    "text": b"bib c cc cfg conf cpp css csv doc docx eml epub go h hpp htm html ics ini ipynb java js json "
    b"jsonl key log lua md "
    b"mobi numbers odp ods odt pages pdf php pl ppt pptx ps py r rb rs rst rtf sh sql srt sub svg tex toml ts "
    b"tsv txt vcf vtt xls xlsx xml yaml yml",
    "sidecar": b"aae arp cos cosessiondb cube db db-journal db-shm db-wal dop ds_store exif gpx icc icm ithmb "
    b"kml lcp lnk lock "
    b"lrcat lrdata lrprev lrtemplate m3u m3u8 moff modd nksc on1 pp3 pto sqlite sqlite3 thm url vrd xmp",
    "drawing": b"afdesign afphoto ai cdr dwg dxf emf eps indd kra svgz wmf xcf",
    "archive": b"7z apk bz2 cab cbr cbz deb dmg gz iso jar lz4 lzma rar rpm tar tbz2 tgz txz whl xz zip zst zstd",
    "program": b"a app bat bin class cmd com dll dylib exe lib msi o obj pyc pyd so sys",
    "data": b"bak-db ckpt dat h5 hdf5 mat nc npy npz onnx parquet pb pickle pkl pt pth safetensors faiss",
    "download": b"crdownload part partial",
}
_KIND_BY_EXTENSION: dict[bytes, str] = {
    extension: kind for kind, names in reversed(_EXTENSIONS.items()) for extension in names.split()
}
_HIDDEN = frozenset(
    (
        *(b"@eaDir", b"@__thumb", b"Thumbs.db", b"thumbs.db", b"desktop.ini", b"System Volume Information"),
        *(b"$RECYCLE.BIN", b"$Recycle.Bin", b"#recycle", b"@Recycle"),
    )
)


def kind_by_name(name: bytes) -> str | None:
    """The kind of file by its extension, in upper or lower case; None if it has none or an unknown one."""
    dot = name.rfind(b".")
    if dot < 0:
        return None
    extension = name[dot + 1 :]
    return _KIND_BY_EXTENSION.get(extension) or _KIND_BY_EXTENSION.get(extension.lower())


def is_hidden(name: bytes) -> bool:
    """Whether a name is ignored: hidden files, trash, and files left by file managers and network drives."""
    return name[:1] == b"." or name in _HIDDEN
