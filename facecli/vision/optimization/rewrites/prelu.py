"""Rewrite PRelu as convolutions.

ONNX Runtime computes PRelu value by value, and for that converts a convolution's result out of its blocked layout. The
same function y = x + (1 - a) relu(-x) is two depthwise 1x1 convolutions, which stay in that layout, are vectorised, and
absorb the Relu and the sum. If x itself comes from a depthwise convolution, y = a x + relu((1 - a) x) is that
convolution twice with other weights, and saves a pass over memory; this form needs slopes of at most 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from facecli.vision.optimization.rewrites.graph import Array, ConvShape, Graph, conv_shape, conv_weights


def channel_slopes(graph: Graph, node: Any) -> Array | None:
    """The slopes, float32 (channels,), of a PRelu with one slope per channel; None for other nodes."""
    if node is None or node.op_type != "PRelu":
        return None
    slopes = graph.constant(node.input[1])
    if slopes is None or slopes.ndim < 3 or slopes.shape[-2:] != (1, 1) or slopes.size < 2:
        return None
    return slopes.reshape(-1)


def replace_prelus(graph: Graph) -> int:
    """Replace each PRelu with slopes per channel; gives the number of changes."""
    count = 0
    for node in list(graph.nodes):
        slopes = channel_slopes(graph, node)
        if slopes is None:
            continue
        source = _depthwise_source(graph, node, slopes)
        if source is None:
            graph.replace([node], _two_passes(graph, node, slopes))
        else:
            graph.replace([source, node], _twice_depthwise(graph, node, slopes, source))
        count += 1
    return count


def _depthwise_source(graph: Graph, node: Any, slopes: Array) -> Any | None:
    """The depthwise convolution that only this PRelu reads, if the second form is possible; else None."""
    source = graph.producer(node.input[0])
    shape = conv_shape(source)
    if (
        source is None
        or shape is None
        or shape.group != len(slopes)
        or slopes.max() > 1
        or graph.only_consumer(node.input[0]) is None
    ):
        return None
    found = conv_weights(graph, source)
    return source if found is not None and len(found[0]) == len(slopes) else None


def _two_passes(graph: Graph, node: Any, slopes: Array) -> list[Any]:
    each = ConvShape(group=len(slopes))
    source, target = node.input[0], node.output[0]
    negated = graph.conv(source, np.full((len(slopes), 1, 1, 1), -1.0), None, each)
    below = graph.node("Relu", [negated.output[0]])
    scaled = graph.conv(below.output[0], (1.0 - slopes).reshape(-1, 1, 1, 1), None, each)
    return [negated, below, scaled, graph.node("Add", [source, scaled.output[0]], target)]


def _twice_depthwise(graph: Graph, node: Any, slopes: Array, source: Any) -> list[Any]:
    shape, found = conv_shape(source), conv_weights(graph, source)
    assert shape is not None
    assert found is not None
    weights, bias = found
    above, below = 1.0 - slopes, slopes
    bent = graph.conv(source.input[0], weights * above.reshape(-1, 1, 1, 1), bias * above, shape)
    relu = graph.node("Relu", [bent.output[0]])
    straight = graph.conv(source.input[0], weights * below.reshape(-1, 1, 1, 1), bias * below, shape)
    return [bent, relu, straight, graph.node("Add", [straight.output[0], relu.output[0]], node.output[0])]
