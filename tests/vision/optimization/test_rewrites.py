"""Each rewrite on small graphs with the patterns of real packs: the outputs stay the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from toys import Toy, iresnet, mobilefacenet, scrfd

from facecli.vision.detection.network import HeadWeights, LazyNetwork, PlainNetwork
from facecli.vision.detection.scrfd import LAYOUTS
from facecli.vision.devices.select import Device
from facecli.vision.optimization.equivalence import fed_with_values, same_embeddings, same_faces
from facecli.vision.optimization.rewrites.axes import double_by_factor, free_reshapes, open_batch
from facecli.vision.optimization.rewrites.graph import Graph
from facecli.vision.optimization.rewrites.grouped import split_pairs
from facecli.vision.optimization.rewrites.heads import take_heads
from facecli.vision.optimization.rewrites.prelu import replace_prelus
from facecli.vision.optimization.rewrites.surgery import (
    open_axes,
    rewrite_detector,
    rewrite_for_batches,
    rewrite_for_openvino,
    rewrite_recogniser,
)
from facecli.vision.optimization.variants import normalisation
from facecli.vision.packs.resolve import find_pack
from facecli.vision.pixels import pixel_values
from facecli.vision.runtime.session import OnnxSession, open_session

CPU = Device("cpu", "CPUExecutionProvider")


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


def test_for_openvino_the_input_is_larger_and_prelus_stay() -> None:
    graph = read(mobilefacenet())
    assert rewrite_for_openvino(graph, 127.5) == []
    assert kinds(graph).count("PRelu") == kinds(read(mobilefacenet())).count("PRelu") + 2  # those of the halves
    before, after = opened(mobilefacenet()), opened(graph)
    blob = feed(before, 1)
    np.testing.assert_allclose(after.run(blob * np.float32(127.5))[0], before.run(blob)[0], rtol=1e-3, atol=1e-4)


def test_a_first_layer_of_another_kind_is_left_to_openvino_as_it_is() -> None:
    assert rewrite_for_openvino(read(scrfd(batch=True)), 2.0) == []
    graph = read(mobilefacenet())
    shifted = graph.node("Neg", [graph.input])
    for node in graph.consumers(graph.input):
        node.input[0] = shifted.output[0]
    graph.nodes.insert(0, shifted)
    assert rewrite_for_openvino(graph, 2.0) is None


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
    assert lazy.session.input.shape[0] is None
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
            constant.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(constant) * np.float32(1.02), constant.name)
            )
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
    assert plain.session.input.shape[0] == 1
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


def values_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The normalised values of pixels, computed as for a network that takes values."""
    planes = [[cv2.LUT(cv2.split(one)[c], pixel_values(127.5, 1 / 128)) for c in range(3)] for one in pixels]
    return np.stack([np.stack(one) for one in planes])


@pytest.mark.parametrize("build", [iresnet, mobilefacenet, lambda: scrfd(batch=False), lambda: scrfd(batch=True)])
def test_a_network_gives_for_pixels_what_it_gives_for_their_values_to_the_bit(build: Callable[[], bytes]) -> None:
    over_values, over_pixels = read(build()), read(build())
    open_axes(over_values)
    assert rewrite_for_batches(over_pixels, 127.5, 1 / 128) == []
    values, pixels = opened(over_values), opened(over_pixels)
    assert (pixels.input.pixels, values.input.pixels) == (True, False)
    height, width = (side or 64 for side in values.input.shape[2:])
    assert pixels.input.shape[0] is None
    assert pixels.input.shape[3] == 3
    feed_of_pixels = np.random.default_rng(2).integers(0, 256, (3, height, width, 3), np.uint8)
    for one, other in zip(pixels.run(feed_of_pixels), values.run(values_of(feed_of_pixels)), strict=True):
        np.testing.assert_array_equal(one, other)
    fed = fed_with_values(pixels, (127.5, 1 / 128))
    for one, other in zip(fed.run(values_of(feed_of_pixels)), pixels.run(feed_of_pixels), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_default_pack_gives_for_pixels_what_it_gives_for_their_values_to_the_bit() -> None:
    pack = find_pack(None)
    for file, side in ((pack.detector, 128), (pack.recogniser, 112)):
        graph = read(Path(file.path).read_bytes())
        mean, factor = normalisation(file)
        assert rewrite_for_batches(graph, mean, factor) == []
        pixels = np.random.default_rng(3).integers(0, 256, (2, side, side, 3), np.uint8)
        planes = pixels.transpose(0, 3, 1, 2).astype(np.float32)
        values = (planes - np.float32(mean)) * np.float32(factor)
        original = open_session(file.path, CPU)
        for number in range(2):
            expected = original.run(np.ascontiguousarray(values[number : number + 1]))
            for one, other in zip(opened(graph).run(pixels[number : number + 1]), expected, strict=True):
                np.testing.assert_array_equal(one, other)


def test_an_input_of_another_form_stays_as_it_is() -> None:
    toy = Toy()
    graph = read(toy.model([1, 8], [(toy.add("Relu", "input"), [1, 8])]))
    assert rewrite_for_batches(graph, 127.5, 1 / 128) is None


def test_wrong_values_do_not_pass_for_pixels() -> None:
    graph = read(iresnet())
    assert rewrite_for_batches(graph, 127.5, 1 / 120) == []
    original, rewritten = opened(iresnet()), fed_with_values(opened(graph), (127.5, 1 / 128))
    crops = values_of(np.random.default_rng(4).integers(0, 256, (3, 8, 8, 3), np.uint8))
    assert not same_embeddings(original, rewritten, crops)
