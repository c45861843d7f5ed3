"""A network in half precision between an input and outputs in single precision."""

from __future__ import annotations

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from facecli.vision.optimization.rewrites.graph import Graph


def halve(graph: Graph) -> bool:
    """Let all values of a network be float16, but for its input and outputs; whether that could be done.

    The graph is left as it was where it could not.
    """
    try:
        # Inner shapes are inferred anew, since what was declared of them may hold the old batch.
        converted = convert_float_to_float16(onnx.load_model_from_string(graph.to_bytes()), keep_io_types=True)
    except Exception:  # noqa: BLE001 (a graph that the converter does not expect raises whatever it meets)
        return False
    graph.model, graph.nodes = converted, list(converted.graph.node)
    return True
