"""The sequences of rewrites for recognisers and detectors."""

from __future__ import annotations

import numpy as np

from facecli.vision.detection.network import HeadWeights
from facecli.vision.detection.scrfd import LAYOUTS
from facecli.vision.optimization.rewrites.axes import double_by_factor, free_reshapes, open_batch
from facecli.vision.optimization.rewrites.graph import Graph
from facecli.vision.optimization.rewrites.grouped import split_pairs
from facecli.vision.optimization.rewrites.heads import take_heads
from facecli.vision.optimization.rewrites.pixels import take_pixels
from facecli.vision.optimization.rewrites.prelu import replace_prelus


def read_graph(data: bytes) -> Graph | None:
    """Parse a model; None if the bytes are not a model."""
    try:
        return Graph.read(data)
    except ValueError:
        return None


def open_axes(graph: Graph) -> None:
    """Make the batch axis dynamic."""
    open_batch(graph)
    free_reshapes(graph)


def rewrite_for_batches(graph: Graph, mean: float, factor: float) -> list[HeadWeights] | None:
    """Make the batch axis dynamic, and let the network take pixels; None if its input has another form."""
    open_axes(graph)
    return [] if take_pixels(graph, mean, factor) else None


def rewrite_recogniser(graph: Graph) -> list[HeadWeights] | None:
    """Make the batch axis dynamic, split convolutions in pairs, replace PRelus; None if the model has none of them."""
    open_axes(graph)
    found = split_pairs(graph) + replace_prelus(graph)
    graph.prune()
    return [] if found else None


def rewrite_for_openvino(graph: Graph, factor: float) -> list[HeadWeights] | None:
    """Make the batch axis dynamic, split convolutions in pairs, and expect an input that is `factor` times as large.

    Gives None if the first layer is not a convolution. PRelus stay, because OpenVINO computes them fast. Pixels minus
    their mean, not yet divided by their scale, are halves of odd numbers below 256, which bfloat16 represents exactly;
    divided, they would be rounded before the first layer.
    """
    for node in graph.consumers(graph.input):
        weights = graph.constant(node.input[1]) if node.op_type == "Conv" else None
        if weights is None:
            return None
        node.input[1] = graph.add_constant("weights", weights / np.float32(factor))
    open_axes(graph)
    split_pairs(graph)
    graph.prune()
    return []


def rewrite_detector(graph: Graph) -> list[HeadWeights] | None:
    """Make the batch axis dynamic and remove the heads; None if the heads have another form."""
    layout = LAYOUTS.get(len(graph.outputs))
    if layout is None or not layout.landmarks:
        return None
    open_batch(graph)
    double_by_factor(graph)
    return take_heads(graph, layout)
