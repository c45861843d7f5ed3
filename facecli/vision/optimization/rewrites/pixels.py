"""Let a network take pixels: one byte each instead of four, and nothing left to compute before the device has them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from facecli.vision.optimization.rewrites.graph import Graph

PIXELS = "facecli_pixels"
CHANNELS_FIRST = (0, 3, 1, 2)


def take_pixels(graph: Graph, mean: float, factor: float) -> bool:
    """Replace the input, float32 (n, 3, h, w), by pixels, uint8 (n, h, w, 3) RGB; False if it has another form.

    The graph then computes (pixel - mean) * factor itself, in single precision as facecli does for other networks, and
    so with the same bits.
    """
    old = next(value for value in graph.model.graph.input if value.name == graph.input)
    dimensions = old.type.tensor_type.shape.dim
    if len(dimensions) != 4 or old.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        return False
    count, _, height, width = dimensions
    new = helper.make_tensor_value_info(PIXELS, onnx.TensorProto.UINT8, [None, None, None, 3])
    for target, source in zip(new.type.tensor_type.shape.dim, (count, height, width), strict=False):
        target.CopyFrom(source)
    turned = graph.node("Transpose", [PIXELS], perm=CHANNELS_FIRST)
    values = graph.node("Cast", [turned.output[0]], to=onnx.TensorProto.FLOAT)
    centred = graph.node("Sub", [values.output[0], graph.add_constant("mean", np.float32(mean).reshape(1))])
    scaled = graph.node(
        "Mul", [centred.output[0], graph.add_constant("factor", np.float32(factor).reshape(1))], old.name
    )
    graph.nodes = [turned, values, centred, scaled, *graph.nodes]
    graph.model.graph.input.remove(old)
    graph.model.graph.input.insert(0, new)
    return True
