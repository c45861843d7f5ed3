"""Rewrite a convolution in groups of two channels as depthwise convolutions over the even and the odd channels.

ONNX Runtime has fast kernels for one group and for as many groups as channels, but a slow one in between. Even and odd
channels stay separate from the convolution before to the one after, so that no channel has to be moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct

from facecli.vision.optimization.rewrites.graph import Array, ConvShape, Graph, conv_shape, conv_weights
from facecli.vision.optimization.rewrites.prelu import channel_slopes

HALVES = (slice(0, None, 2), slice(1, None, 2))


class PairedChain(Struct):
    """Conv, PRelu, Conv in pairs, PRelu, Conv: each is the only consumer of the one before."""

    before: Any
    first_prelu: Any
    pairs: Any
    second_prelu: Any
    after: Any

    @property
    def nodes(self) -> list[Any]:
        return [self.before, self.first_prelu, self.pairs, self.second_prelu, self.after]


def split_pairs(graph: Graph) -> int:
    """Split every convolution in pairs that is part of such a chain; gives the number of changes."""
    count = 0
    for node in list(graph.nodes):
        chain = _chain_around(graph, node)
        if chain is not None:
            graph.replace(chain.nodes, _split(graph, chain))
            count += 1
    return count


def _chain_around(graph: Graph, node: Any) -> PairedChain | None:
    shape = conv_shape(node)
    found = conv_weights(graph, node) if shape else None
    if shape is None or found is None or shape.group < 2 or found[0].shape[:2] != (2 * shape.group, 2):
        return None
    first, second = graph.producer(node.input[0]), graph.only_consumer(node.output[0])
    if first is None or second is None or channel_slopes(graph, first) is None or channel_slopes(graph, second) is None:
        return None
    before, after = graph.producer(first.input[0]), graph.only_consumer(second.output[0])
    for end in (before, after):
        shape = conv_shape(end)
        if shape is None or shape.group != 1 or conv_weights(graph, end) is None:
            return None
    if graph.only_consumer(first.input[0]) is None or graph.only_consumer(first.output[0]) is None:
        return None
    return PairedChain(before, first, node, second, after)


def _split(graph: Graph, chain: PairedChain) -> list[Any]:
    halves: list[str] = []
    nodes: list[Any] = []
    for half in HALVES:
        part = _conv_part(graph, chain.before, half)
        prelu = _prelu_part(graph, chain.first_prelu, half, part.output[0])
        nodes += [part, prelu]
        halves.append(prelu.output[0])
    ends = []
    for half in HALVES:
        middle = _pair_part(graph, chain.pairs, half, halves)
        prelu = _prelu_part(graph, chain.second_prelu, half, middle[-1].output[0])
        weights, bias = _weights(graph, chain.after)
        end = graph.conv(prelu.output[0], weights[:, half], bias if half is HALVES[0] else None, _shape(chain.after))
        nodes += [*middle, prelu, end]
        ends.append(end.output[0])
    return [*nodes, graph.node("Add", ends, chain.after.output[0])]


def _conv_part(graph: Graph, node: Any, half: slice) -> Any:
    """A convolution that computes only the channels of `half`."""
    weights, bias = _weights(graph, node)
    return graph.conv(node.input[0], weights[half], bias[half], _shape(node))


def _pair_part(graph: Graph, node: Any, half: slice, sources: list[str]) -> list[Any]:
    """The channels of `half` of a convolution in pairs, computed from the even and the odd channels of its input."""
    weights, bias = _weights(graph, node)
    shape = _shape(node)
    parts = [
        graph.conv(source, weights[half, number : number + 1], bias[half] if number == 0 else None, shape)
        for number, source in enumerate(sources)
    ]
    return [*parts, graph.node("Add", [p.output[0] for p in parts])]


def _prelu_part(graph: Graph, node: Any, half: slice, source: str) -> Any:
    slopes = channel_slopes(graph, node)
    assert slopes is not None
    return graph.node(
        "PRelu", [source, graph.add_constant("slopes", slopes[half].reshape(-1, 1, 1).astype(np.float32))]
    )


def _weights(graph: Graph, node: Any) -> tuple[Array, Array]:
    found = conv_weights(graph, node)
    assert found is not None
    return found


def _shape(node: Any) -> ConvShape:
    shape = conv_shape(node)
    assert shape is not None
    return shape
