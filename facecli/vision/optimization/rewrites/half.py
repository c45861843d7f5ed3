"""Convert a network to half precision, with input and outputs in single precision."""

from __future__ import annotations

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from facecli.vision.optimization.rewrites.graph import Graph


def halve(graph: Graph) -> bool:
    """Convert all values to float16, except input and outputs; False if the graph cannot be converted.

    Then the graph is unchanged.
    """
    try:
        # to_bytes drops declared inner shapes, which may contain the old batch size; the converter infers them.
        converted = convert_float_to_float16(onnx.load_model_from_string(graph.to_bytes()), keep_io_types=True)
    except Exception:  # noqa: BLE001 (the converter can raise any exception for unexpected graphs)
        return False
    graph.model, graph.nodes = converted, list(converted.graph.node)
    return True
