"""Each rewrite on small graphs with the patterns of real packs: what they give stays the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facecli.vision.device import Device
from facecli.vision.networks import HeadWeights, LazyNetwork, PlainNetwork
from facecli.vision.proving import same_embeddings, same_faces
from facecli.vision.rewrites.axes import double_by_factor, free_reshapes, open_batch
from facecli.vision.rewrites.graph import Graph
from facecli.vision.rewrites.grouped import split_pairs
from facecli.vision.rewrites.heads import take_heads
from facecli.vision.rewrites.prelu import replace_prelus
from facecli.vision.rewrites.surgery import rewrite_detector, rewrite_recogniser
from facecli.vision.scrfd import LAYOUTS
from facecli.vision.session import OnnxSession, open_session

CPU = Device("cpu", "CPUExecutionProvider")


class Toy:
    """Builds a network node by node."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def nothing(self) -> tuple[str, str]:
        """The two empty inputs that exporters give to Resize."""
        return self.constant(np.zeros(0, np.float32)), self.constant(np.zeros(0, np.float32))

    def add(self, kind: str, *inputs: str, out: str = "", **settings: Any) -> str:
        out = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **settings))
        return out

    def conv(self, source: str, channels: tuple[int, int], *, kernel: int = 3, stride: int = 1, group: int = 1) -> str:
        weights = self.rng.normal(0, 0.3, (channels[1], channels[0] // group, kernel, kernel)).astype(np.float32)
        names = self.constant(weights), self.constant(self.rng.normal(0, 0.1, channels[1]).astype(np.float32))
        pad = kernel // 2
        return self.add("Conv", source, *names, kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[stride] * 2, group=group)

    def prelu(self, source: str, channels: int) -> str:
        return self.add("PRelu", source, self.constant(self.rng.normal(0.2, 0.8, (channels, 1, 1)).astype(np.float32)))

    def norm(self, source: str, channels: int) -> str:
        values = [self.rng.uniform(0.5, 1.5, channels).astype(np.float32) for _ in range(4)]
        return self.add("BatchNormalization", source, *map(self.constant, values), epsilon=1e-5)

    def model(self, shape: list[int | str], outputs: list[tuple[str, list[int | str]]]) -> bytes:
        described = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs]
        graph = helper.make_graph(self.nodes, "toy", [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)], described, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def iresnet() -> bytes:
    """The pattern of w600k_r50 and glintr100: normalisation, convolution, PRelu, convolution, a shortcut; declared for one crop."""
    toy = Toy()
    x = toy.prelu(toy.conv("input", (3, 8)), 8)
    for channels in ((8, 8), (8, 16)):
        stride = 1 if channels[0] == channels[1] else 2
        y = toy.prelu(toy.conv(toy.norm(x, channels[0]), channels), channels[1])
        shortcut = x if stride == 1 else toy.conv(x, channels, kernel=1, stride=2)
        x = toy.add("Add", toy.conv(y, (channels[1], channels[1]), stride=stride), shortcut)
    flat = toy.add("Flatten", toy.norm(x, 16))
    weights = toy.constant(toy.rng.normal(0, 0.05, (32, 16 * 16)).astype(np.float32))
    y = toy.add("Gemm", flat, weights, toy.constant(np.zeros(32, np.float32)), transB=1)
    return toy.model([1, 3, 8, 8], [(toy.norm(y, 32), [1, 32])])


def mobilefacenet(after_group: int = 1) -> bytes:
    """The pattern of w600k_mbf: a convolution in pairs between two PRelus."""
    toy = Toy()
    x = toy.prelu(toy.conv("input", (3, 12), stride=2), 12)
    x = toy.prelu(toy.conv(x, (12, 12), group=6), 12)
    x = toy.conv(x, (12, 12), kernel=1, group=after_group)
    return toy.model(["None", 3, 16, 16], [(toy.add("Flatten", toy.prelu(x, 12)), [1, 768])])


def scrfd(*, batch: bool, factor: bool = True, pads: int = 1) -> bytes:
    """The patterns of the 500M export (open batch, three axes out) and of det_10g (fixed at one, two axes out, a learnt factor)."""
    toy = Toy()
    maps, x = [], "input"
    for number in range(5):
        x = toy.add("Relu", toy.conv(x, (3 if number == 0 else 8, 8), stride=2))
        maps.append(x)
    bottom = toy.add("Resize", maps[4], *toy.nothing(), _size_of(toy, maps[3]), mode="nearest", nearest_mode="floor",
                     coordinate_transformation_mode="asymmetric")  # fmt: skip
    maps[3] = toy.add("Add", maps[3], bottom)
    outputs: dict[str, list[tuple[str, list[int | str]]]] = {"score": [], "bbox": [], "kps": []}
    for stride, features in zip((8, 16, 32), maps[2:], strict=True):
        for kind, count in (("score", 1), ("bbox", 4), ("kps", 10)):
            y = toy.conv(features, (8, 2 * count), kernel=3 if pads else 1)
            if kind == "bbox" and factor:
                y = toy.add("Mul", y, toy.constant(np.array(1.3, np.float32)))
            y = toy.add("Transpose", y, perm=[0, 2, 3, 1])
            y = toy.add("Reshape", y, toy.constant(np.array([0, -1, count] if batch else [-1, count], np.int64)))
            y = toy.add("Sigmoid", y, out=f"{kind}_{stride}") if kind == "score" else toy.add("Identity", y, out=f"{kind}_{stride}")
            outputs[kind].append((y, ["b", "n", count] if batch else [2 * (64 // stride) ** 2, count]))
    toy.nodes = _without_identities(toy.nodes)
    return toy.model(["?" if batch else 1, 3, 64, 64], [*outputs["score"], *outputs["bbox"], *outputs["kps"]])


def _size_of(toy: Toy, name: str) -> str:
    """The shape of a map as the exporter computes it for Resize."""
    return toy.add("Cast", toy.add("Shape", name), to=TensorProto.INT64)


def _without_identities(nodes: list[Any]) -> list[Any]:
    """Let the node before an Identity give its result."""
    names = {n.input[0]: n.output[0] for n in nodes if n.op_type == "Identity"}
    kept = [n for n in nodes if n.op_type != "Identity"]
    for node in kept:
        node.output[0] = names.get(node.output[0], node.output[0])
    return kept


def read(data: bytes) -> Graph:
    return Graph.read(data)


def opened(graph: Graph | bytes) -> OnnxSession:
    return open_session(graph if isinstance(graph, bytes) else graph.to_bytes(), CPU)


def kinds(graph: Graph) -> list[str]:
    return [n.op_type for n in graph.nodes]


def feed(session: OnnxSession, count: int) -> NDArray[np.float32]:
    sides = [s or 64 for s in session.input.shape[1:]]
    return np.random.default_rng(5).normal(0, 1, (count, *sides)).astype(np.float32)


@pytest.mark.parametrize("build", [iresnet, mobilefacenet])
def test_a_recogniser_gives_the_same_for_a_batch_as_before_for_one(build: Callable[[], bytes]) -> None:
    graph = read(build())
    assert rewrite_recogniser(graph) == []
    assert "PRelu" not in kinds(graph)
    original, rewritten = opened(build()), opened(graph)
    assert rewritten.input.shape[0] is rewritten.outputs[0].shape[0] is None
    crops = feed(original, 3)
    assert same_embeddings(original, rewritten, crops)
    expected = np.concatenate([original.run(crop[None])[0] for crop in crops])
    np.testing.assert_allclose(rewritten.run(crops)[0], expected, rtol=1e-4, atol=1e-4)


def test_slopes_of_any_sign_and_size_are_kept() -> None:
    graph = read(iresnet())
    slopes = [graph.constant(n.input[1]) for n in graph.nodes if n.op_type == "PRelu"]
    values = np.concatenate([s.reshape(-1) for s in slopes if s is not None])
    assert values.min() < 0
    assert values.max() > 1
    assert replace_prelus(graph) == len(slopes) == 3


@pytest.mark.parametrize(("largest", "depthwise"), [(0.9, 2), (1.5, 3)])
def test_a_prelu_after_a_depthwise_convolution_bends_its_weights(largest: float, depthwise: int) -> None:
    toy = Toy()
    slopes = np.linspace(-0.8, largest, 8).astype(np.float32).reshape(8, 1, 1)
    y = toy.add("PRelu", toy.conv(toy.conv("input", (3, 8)), (8, 8), stride=2, group=8), toy.constant(slopes))
    data = toy.model(["None", 3, 16, 16], [(toy.add("Flatten", y), ["None", 512])])
    graph = read(data)
    assert rewrite_recogniser(graph) == []
    assert kinds(graph).count("Conv") == 1 + depthwise
    original, rewritten = opened(data), opened(graph)
    crops = feed(original, 2)
    np.testing.assert_allclose(rewritten.run(crops)[0], original.run(crops)[0], rtol=1e-4, atol=1e-4)


def test_a_prelu_with_one_slope_for_all_is_left() -> None:
    toy = Toy()
    y = toy.add("PRelu", toy.conv("input", (3, 4)), toy.constant(np.full((1, 1, 1), 0.1, np.float32)))
    graph = read(toy.model([1, 3, 8, 8], [(y, [1, 4, 8, 8])]))
    assert replace_prelus(graph) == 0
    assert rewrite_recogniser(graph) is None


def test_the_convolution_in_pairs_becomes_depthwise() -> None:
    graph = read(mobilefacenet())
    assert split_pairs(graph) == 1
    groups = sorted(next(a.i for a in n.attribute if a.name == "group") for n in graph.nodes if n.op_type == "Conv")
    assert groups == [1, 1, 1, 1, 6, 6, 6, 6]


def test_a_convolution_in_pairs_in_another_place_is_left() -> None:
    graph = read(mobilefacenet(after_group=3))
    assert split_pairs(graph) == 0
    assert kinds(graph) == kinds(read(mobilefacenet(after_group=3)))


@pytest.mark.parametrize("batch", [True, False])
def test_a_detector_without_its_heads_finds_the_same(*, batch: bool) -> None:
    graph = read(scrfd(batch=batch))
    heads = rewrite_detector(graph)
    assert heads is not None
    assert "Sigmoid" not in kinds(graph)
    assert "Shape" not in kinds(graph)
    plain = PlainNetwork(opened(scrfd(batch=batch)), LAYOUTS[9])
    lazy = LazyNetwork(opened(graph), LAYOUTS[9], heads)
    assert lazy.batches
    assert same_faces(plain, lazy, feed(opened(graph), 2))


def test_wrong_weights_are_not_taken_for_the_same() -> None:
    graph = read(scrfd(batch=True))
    heads = rewrite_detector(graph)
    assert heads is not None
    spoiled = [HeadWeights(h.boxes * 1.01, h.boxes_bias, h.landmarks, h.landmarks_bias) for h in heads]
    plain = PlainNetwork(opened(scrfd(batch=True)), LAYOUTS[9])
    assert not same_faces(plain, LazyNetwork(opened(graph), LAYOUTS[9], spoiled), feed(opened(graph), 2))


def test_a_recogniser_that_differs_is_not_taken_for_the_same() -> None:
    graph = read(iresnet())
    rewrite_recogniser(graph)
    for constant in graph.model.graph.initializer:
        if "weights" in constant.name:
            constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) * np.float32(1.02), constant.name))
    original = opened(iresnet())
    assert not same_embeddings(original, opened(graph), feed(original, 3))


def test_heads_of_another_form_are_left_on() -> None:
    graph = read(scrfd(batch=True, pads=0))
    before = kinds(graph)
    assert take_heads(graph, LAYOUTS[9]) is None
    assert kinds(graph) == before


def test_a_batch_fixed_at_one_is_opened() -> None:
    graph = read(scrfd(batch=False, factor=False))
    open_batch(graph)
    assert free_reshapes(graph) == 0
    session = opened(graph)
    assert session.input.shape == (None, 3, 64, 64)
    plain = PlainNetwork(opened(scrfd(batch=False, factor=False)), LAYOUTS[9])
    assert not plain.batches
    assert same_faces(plain, PlainNetwork(session, LAYOUTS[9]), feed(session, 2))


def test_a_shape_that_holds_the_batch_follows_the_data() -> None:
    toy = Toy()
    y = toy.add("Reshape", toy.conv("input", (3, 4)), toy.constant(np.array([1, 4, -1], np.int64)))
    graph = read(toy.model([1, 3, 8, 8], [(y, [1, 4, 64])]))
    open_batch(graph)
    assert free_reshapes(graph) == 1
    assert opened(graph).run(np.zeros((3, 3, 8, 8), np.float32))[0].shape == (3, 4, 64)


def test_a_resize_that_is_more_than_a_neck_is_left() -> None:
    toy = Toy()
    x = toy.conv("input", (3, 4))
    y = toy.add("Resize", x, *toy.nothing(), toy.constant(np.array([1, 4, 24, 24], np.int64)), mode="nearest")
    graph = read(toy.model([1, 3, 8, 8], [(y, [1, 4, 24, 24])]))
    assert double_by_factor(graph) == 0


def test_bytes_that_are_no_model_are_told() -> None:
    with pytest.raises(ValueError, match="not an ONNX model"):
        Graph.read(b"\x00nonsense")
