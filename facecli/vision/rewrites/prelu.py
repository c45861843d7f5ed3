"""PRelu by means of convolutions.

ONNX Runtime evaluates PRelu one value at a time, and takes a convolution's result out of its blocked layout to do so. The same function as
y = x + (1 - a) relu(-x) is two depthwise 1x1 convolutions, which stay in that layout, are vectorised, and swallow the Relu and the sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from facecli.vision.rewrites.graph import Array, ConvShape, Graph


def channel_slopes(graph: Graph, node: Any) -> Array | None:
    """The slopes, float32 (channels,), of a PRelu that has one for each channel of an image."""
    if node is None or node.op_type != "PRelu":
        return None
    slopes = graph.constant(node.input[1])
    if slopes is None or slopes.ndim < 3 or slopes.shape[-2:] != (1, 1) or slopes.size < 2:
        return None
    return slopes.reshape(-1)


def replace_prelus(graph: Graph) -> int:
    """Replace each PRelu over channels; how many there were."""
    count = 0
    for node in list(graph.nodes):
        slopes = channel_slopes(graph, node)
        if slopes is None:
            continue
        each = ConvShape(group=len(slopes))
        source, target = node.input[0], node.output[0]
        negated = graph.conv(source, np.full((len(slopes), 1, 1, 1), -1.0), None, each)
        below = graph.node("Relu", [negated.output[0]])
        scaled = graph.conv(below.output[0], (1.0 - slopes).reshape(-1, 1, 1, 1), None, each)
        graph.replace([node], [negated, below, scaled, graph.node("Add", [source, scaled.output[0]], target)])
        count += 1
    return count
