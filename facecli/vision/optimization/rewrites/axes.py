"""Make axes dynamic that an export fixed without need."""

from __future__ import annotations

from typing import Any

import numpy as np

from facecli.vision.optimization.rewrites.graph import Graph, attributes

BATCH = "batch"


def open_batch(graph: Graph) -> None:
    """Declare the batch axis of the input, and all axes of the outputs but the last, as dynamic.

    Whether the network then really accepts batches must be checked: a Reshape inside may still contain the old size.
    """
    for value in graph.model.graph.input:
        if value.name == graph.input:
            _open(value.type.tensor_type.shape.dim[0], BATCH)
    for value in graph.model.graph.output:
        dimensions = value.type.tensor_type.shape.dim
        for number, dimension in enumerate(dimensions):
            if number < len(dimensions) - 1:
                _open(dimension, f"{value.name}_{number}")


def free_reshapes(graph: Graph) -> int:
    """Let the first axis of constant shapes (1, ...) follow the data; gives the number of changes.

    A 0 in a Reshape's shape means "as in the input"; it is valid only if the rest of the shape is complete or has one
    inferred axis.
    """
    count = 0
    for node in graph.nodes:
        if node.op_type != "Reshape":
            continue
        shape = graph.constant(node.input[1])
        if shape is not None and shape.size > 1 and shape[0] == 1:
            node.input[1] = graph.add_constant("shape", np.concatenate(([0], shape[1:])).astype(np.int64))
            count += 1
    return count


def double_by_factor(graph: Graph) -> int:
    """Let each Resize that doubles a map use factors instead of a computed size; gives the number of changes."""
    count = 0
    for node in list(graph.nodes):
        settings = attributes(node)
        if node.op_type != "Resize" or settings.get("mode") != b"nearest" or len(node.input) < 4 or not node.input[3]:
            continue
        consumer = graph.only_consumer(node.output[0])
        if consumer is None or consumer.op_type != "Add":
            continue
        graph.replace([node], [_resize(graph, node, settings)])
        count += 1
    return count


def _resize(graph: Graph, node: Any, settings: dict[str, Any]) -> Any:
    factors = graph.add_constant("factors", np.array([1, 1, 2, 2], np.float32))
    named = {n: settings[n] for n in ("coordinate_transformation_mode", "nearest_mode") if n in settings}
    return graph.node("Resize", [node.input[0], node.input[1], factors], node.output[0], mode="nearest", **named)


def _open(dimension: Any, name: str) -> None:
    dimension.ClearField("dim_value")
    dimension.dim_param = name
