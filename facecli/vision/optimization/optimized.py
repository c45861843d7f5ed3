"""Open a pack's networks in their fastest form: verified rewrites, and half precision for recognisers on accelerators.

The results stay the same; only the way in which ONNX Runtime computes them changes. If a rewrite's pattern is missing,
its results differ or it is slower, the next rewrite is tried, and finally the original is used.
"""

from __future__ import annotations

from facecli.config import Precision
from facecli.errors import PackError
from facecli.reporting import Reporter
from facecli.types import FloatArray
from facecli.vision.detection.network import FaceNetwork, HeadWeights, LazyNetwork, PlainNetwork
from facecli.vision.detection.scrfd import LAYOUTS
from facecli.vision.devices.select import Device
from facecli.vision.optimization import equivalence
from facecli.vision.optimization.half_precision import choose_precision
from facecli.vision.optimization.variants import Maker, Rewrite, RewriteTarget, choose_variant, heads_of, maker, recall
from facecli.vision.packs.resolve import ModelFile
from facecli.vision.runtime.providers import CPU
from facecli.vision.runtime.session import Session, open_session

PROVING_SIDE = 320
OUTPUTS_OF_A_STRIDE = 3


def open_recogniser(
    file: ModelFile, device: Device, report: Reporter, precision: Precision = Precision.EXACT
) -> Session:
    """Open the recogniser in its fastest verified form; a HalfSession if an accelerator computes in half precision."""
    shop = RewriteTarget(file, device, report)
    if device.provider == CPU:
        return _open_single(shop)
    return choose_precision(shop, precision, lambda: _open_single(shop))


def _open_single(shop: RewriteTarget) -> Session:
    """Open the recogniser in single precision."""
    entry, session = recall(shop, "recogniser")
    if session is not None:
        return session
    original = open_session(shop.file.path, shop.device)
    if entry is not None:
        return original
    crops = equivalence.proving_crops(shop.normalisation)

    def proved(session: Session, _: Rewrite) -> bool:
        fed = equivalence.fed_with_values(session, shop.normalisation)
        return equivalence.same_embeddings(original, fed, crops) and _no_slower(shop, (original, fed), crops[:1])

    found = choose_variant(shop, "recogniser", _rewrites_of_recogniser(shop), proved)
    return found[0] if found else original


def open_detector(file: ModelFile, device: Device, report: Reporter) -> FaceNetwork:
    """Open the detector in its fastest verified form, always in single precision.

    The precision of its landmarks decides which pixels the recogniser sees.
    """
    shop = RewriteTarget(file, device, report)
    entry, session = recall(shop, "detector")
    if entry is not None and session is not None:
        return _network(session, heads_of(entry))
    original = open_session(file.path, device)
    layout = LAYOUTS.get(len(original.outputs))
    if layout is None or not layout.landmarks:
        raise PackError(
            "the detector is not an SCRFD with landmarks, the only kind that facecli runs",
            file.path,
            hint="take another pack, such as buffalo_l",
        )
    plain = PlainNetwork(original, layout)
    if entry is not None:
        return plain
    blob = equivalence.proving_photos(file.input_size or PROVING_SIDE, shop.normalisation)

    def proved(session: Session, rewrite: Rewrite) -> bool:
        fed = equivalence.fed_with_values(session, shop.normalisation)
        return equivalence.same_faces(plain, _network(fed, rewrite.heads), blob) and _no_slower(
            shop, (original, fed), blob[:1]
        )

    found = choose_variant(shop, "detector", _rewrites_of_detector(shop), proved)
    return _network(*found) if found else plain


def _network(session: Session, heads: list[HeadWeights]) -> FaceNetwork:
    if heads:
        return LazyNetwork(session, LAYOUTS[OUTPUTS_OF_A_STRIDE * len(heads)], heads)
    return PlainNetwork(session, LAYOUTS[len(session.outputs)])


def _no_slower(shop: RewriteTarget, sessions: tuple[Session, Session], feed: FloatArray) -> bool:
    """Whether the second session is not slower; checked on CPUs only, where CPU time excludes other programs."""
    if shop.device.provider != CPU:
        return True
    before, after = equivalence.seconds_of(sessions, feed)
    return after <= 1.1 * before


def _rewrites_of_recogniser(shop: RewriteTarget) -> list[Maker]:
    """Rewrites, the best first."""
    if shop.device.provider != CPU:
        return _rewrites_for_batches(shop)
    return [maker(shop, "PRelu as convolutions", lambda surgery, graph: surgery.rewrite_recogniser(graph)), _axes(shop)]


def _rewrites_of_detector(shop: RewriteTarget) -> list[Maker]:
    if shop.device.provider != CPU:
        return _rewrites_for_batches(shop)
    return [
        maker(shop, "heads at candidates only", lambda surgery, graph: surgery.rewrite_detector(graph)),
        _axes(shop),
    ]


def _rewrites_for_batches(shop: RewriteTarget) -> list[Maker]:
    """Only input and batch axis change on devices other than the CPU, which have their own kernels."""
    mean, factor = shop.normalisation
    name = "pixels as input, and an open batch axis"
    return [
        maker(shop, name, lambda surgery, graph: surgery.rewrite_for_batches(graph, mean, factor)),
        _axes(shop),
    ]


def _axes(shop: RewriteTarget) -> Maker:
    return maker(shop, "an open batch axis", lambda surgery, graph: surgery.open_axes(graph) or [])
