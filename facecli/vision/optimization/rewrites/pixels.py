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
    # The cast comes first: some providers take bytes as input, and know no other operator over them.
    values = graph.node("Cast", [PIXELS], to=onnx.TensorProto.FLOAT)
    turned = graph.node("Transpose", [values.output[0]], perm=CHANNELS_FIRST)
    middle = graph.add_constant("mean", np.array([mean], np.float32))
    unit = graph.add_constant("factor", np.array([factor], np.float32))
    centred = graph.node("Sub", [turned.output[0], middle])
    scaled = graph.node("Mul", [centred.output[0], unit], old.name)
    graph.nodes = [values, turned, centred, scaled, *graph.nodes]
    graph.model.graph.input.remove(old)
    graph.model.graph.input.insert(0, new)
    return True
