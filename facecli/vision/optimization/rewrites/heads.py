"""Remove a detector's last convolutions: boxes and landmarks are then computed only where the score shows a face.

The outputs of the graph become, for each stride, the logits of the scores and the feature map that all three last
convolutions read. The scores' convolution has few channels (two anchors), and ONNX Runtime's blocks of 16 channels
would waste most of the work. So its nine taps become the channels of a 1x1 convolution, a depthwise convolution shifts
them into place, and a last one adds them up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct

from facecli.vision.detection.network import HeadWeights
from facecli.vision.detection.scrfd import Layout
from facecli.vision.optimization.rewrites.graph import Array, ConvShape, Graph, attributes, conv_shape, conv_weights

BLOCK = 16
"""ONNX Runtime's block of channels on processors with AVX-512; a multiple costs nothing on others."""


class _Head(Struct, frozen=True, eq=False):
    conv: Any
    weights: Array
    bias: Array
    sigmoid: bool


def take_heads(graph: Graph, layout: Layout) -> list[HeadWeights] | None:
    """Remove the heads: outputs become the logits of each stride, then the feature maps.

    If the pattern differs, gives None and leaves the graph unchanged.
    """
    heads = [_head_of(graph, name) for name in graph.outputs]
    count = len(layout.strides)
    found = [h for h in heads if h is not None]
    if len(found) != 3 * count or not _agree(found, layout):
        return None
    scores = []
    for head in found[:count]:
        new = _score_taps(graph, head)
        graph.replace([head.conv], new)
        scores.append(new[-1].output[0])
    graph.keep_outputs([*scores, *(h.conv.input[0] for h in found[:count])])
    return [
        HeadWeights(box.weights, box.bias, mark.weights, mark.bias)
        for box, mark in zip(found[count : 2 * count], found[2 * count :], strict=True)
    ]


def _agree(found: list[_Head], layout: Layout) -> bool:
    """Whether the three convolutions of each stride read the same map and have the layout's channels."""
    count = len(layout.strides)
    channels = [layout.anchors * n for n in (1, 4, 10) for _ in layout.strides]
    same = all(
        found[i].conv.input[0] == found[i + count].conv.input[0] == found[i + 2 * count].conv.input[0]
        for i in range(count)
    )
    return (
        same
        and [len(h.weights) for h in found] == channels
        and [h.sigmoid for h in found] == [True] * count + [False] * 2 * count
    )


def _head_of(graph: Graph, output: str) -> _Head | None:
    """Follow an output back to its convolution; None if the pattern differs.

    The pattern, from the output: Reshape, Transpose to channels last, an optional factor, and an optional Sigmoid
    before or after Reshape and Transpose.
    """
    node, after = _without_sigmoid(graph, graph.producer(output))
    if node is None or node.op_type != "Reshape":
        return None
    node = graph.producer(node.input[0])
    if node is None or node.op_type != "Transpose" or list(attributes(node).get("perm", ())) != [0, 2, 3, 1]:
        return None
    node, before = _without_sigmoid(graph, graph.producer(node.input[0]))
    node, factor = _without_factor(graph, node)
    found = conv_weights(graph, node) if conv_shape(node) == ConvShape(pads=(1, 1, 1, 1)) else None
    if found is None or found[0].shape[2:] != (3, 3) or (after and before):
        return None
    return _Head(node, found[0] * factor, found[1] * factor, after or before)


def _without_sigmoid(graph: Graph, node: Any) -> tuple[Any, bool]:
    if node is not None and node.op_type == "Sigmoid":
        return graph.producer(node.input[0]), True
    return node, False


def _without_factor(graph: Graph, node: Any) -> tuple[Any, np.float32]:
    """Fold a stride's learnt factor for boxes into the convolution before it."""
    if node is None or node.op_type != "Mul":
        return node, np.float32(1)
    for factor, source in (node.input, reversed(node.input)):
        value = graph.constant(factor)
        if value is not None and value.size == 1:
            return graph.producer(source), np.float32(value.reshape(()))
    return None, np.float32(1)


def _score_taps(graph: Graph, head: _Head) -> list[Any]:
    """The scores' convolution as taps, shifts and a sum."""
    anchors, channels = head.weights.shape[:2]
    taps = 9 * anchors
    width = -(-taps // BLOCK) * BLOCK
    weights = np.zeros((width, channels, 1, 1), np.float32)
    weights[:taps, :, 0, 0] = head.weights.transpose(0, 2, 3, 1).reshape(taps, channels)
    shifts = np.zeros((width, 1, 9), np.float32)
    shifts[np.arange(taps), 0, np.tile(np.arange(9), anchors)] = 1
    sums = np.zeros((anchors, width, 1, 1), np.float32)
    sums[np.repeat(np.arange(anchors), 9), np.arange(taps)] = 1
    tapped = graph.conv(head.conv.input[0], weights, None, ConvShape())
    shifted = graph.conv(
        tapped.output[0], shifts.reshape(width, 1, 3, 3), None, ConvShape(group=width, pads=(1, 1, 1, 1))
    )
    return [tapped, shifted, graph.conv(shifted.output[0], sums, head.bias, ConvShape())]
