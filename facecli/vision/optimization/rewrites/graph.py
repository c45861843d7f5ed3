"""An ONNX graph as something that can be asked and changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import onnx
from msgspec import Struct, field
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]


class ConvShape(Struct, frozen=True):
    """How a convolution moves over its input."""

    group: int = 1
    pads: tuple[int, ...] = (0, 0, 0, 0)
    strides: tuple[int, ...] = (1, 1)
    dilations: tuple[int, ...] = (1, 1)


class Graph(Struct):
    """A model's main graph; nodes are told apart by identity, values by name."""

    model: Any
    nodes: list[Any] = field(default_factory=list)
    _constants: dict[str, Any] = field(default_factory=dict)
    """The initializers by name, left in their packed form: a large model's would fill the memory twice."""
    _count: int = 0

    @classmethod
    def read(cls, data: bytes) -> Graph:
        """Parse a model; raises ValueError where the bytes are none."""
        try:
            model = onnx.load_model_from_string(data)
        except Exception as error:
            if isinstance(error, MemoryError) or "alloc" in str(error).lower():  # protobuf's word for want of memory
                raise MemoryError("not enough memory to read a model") from error
            raise ValueError("not an ONNX model") from error
        graph = cls(model, list(model.graph.node))
        graph._constants = {i.name: i for i in model.graph.initializer}
        return graph

    @property
    def outputs(self) -> list[str]:
        return [o.name for o in self.model.graph.output]

    @property
    def input(self) -> str:
        """The name of the one input that is no constant."""
        return next(str(i.name) for i in self.model.graph.input if i.name not in self._constants)

    def constant(self, name: str) -> Array | None:
        """The value of an initializer or of a Constant node."""
        if name in self._constants:
            return numpy_helper.to_array(self._constants[name])
        node = self.producer(name)
        if node is None or node.op_type != "Constant":
            return None
        value = attributes(node).get("value")
        return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else None

    def producer(self, name: str) -> Any | None:
        """The node that gives the value `name`."""
        return next((n for n in self.nodes if name in n.output), None)

    def consumers(self, name: str) -> list[Any]:
        """The nodes that take the value `name`."""
        return [n for n in self.nodes if name in n.input]

    def only_consumer(self, name: str) -> Any | None:
        """The node that alone takes the value `name`; None where several do, or where it is an output of the graph."""
        found = self.consumers(name)
        return found[0] if len(found) == 1 and name not in self.outputs else None

    def fresh(self, word: str) -> str:
        """A name that no value has."""
        self._count += 1
        return f"facecli_{word}_{self._count}"

    def add_constant(self, word: str, value: Array) -> str:
        """Keep a value in the graph; its name."""
        name = self.fresh(word)
        self.model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        self._constants[name] = self.model.graph.initializer[-1]
        return name

    def conv(self, source: str, weights: Array, bias: Array | None, shape: ConvShape, target: str = "") -> Any:
        """A convolution of `source` by weights (out, in / group, h, w)."""
        inputs = [source, self.add_constant("weights", weights.astype(np.float32))]
        if bias is not None:
            inputs.append(self.add_constant("bias", bias.astype(np.float32)))
        return helper.make_node(
            "Conv",
            inputs,
            [target or self.fresh("conv")],
            name=self.fresh("node"),
            group=shape.group,
            pads=list(shape.pads),
            strides=list(shape.strides),
            dilations=list(shape.dilations),
            kernel_shape=list(weights.shape[2:]),
        )

    def node(self, kind: str, inputs: Sequence[str], target: str = "", **settings: Any) -> Any:
        """A node of one output."""
        return helper.make_node(kind, list(inputs), [target or self.fresh(kind.lower())], name=self.fresh("node"), **settings)

    def replace(self, old: Collection[Any], new: Sequence[Any]) -> None:
        """Put `new` in the place of the last of `old`."""
        gone = {id(n) for n in old}
        place = max(i for i, n in enumerate(self.nodes) if id(n) in gone)
        kept = [[n for n in part if id(n) not in gone] for part in (self.nodes[:place], self.nodes[place:])]
        self.nodes = [*kept[0], *new, *kept[1]]

    def keep_outputs(self, names: Sequence[str]) -> None:
        """Make `names` the outputs, and drop what none of them needs."""
        del self.model.graph.output[:]
        self.model.graph.output.extend(helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names)
        self.prune()

    def prune(self) -> None:
        """Drop nodes and constants that no output needs."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        self.nodes = kept[::-1]
        initializers = self.model.graph.initializer
        for number in reversed(range(len(initializers))):
            if initializers[number].name not in needed:
                del initializers[number]
        self._constants = {i.name: i for i in initializers}

    def to_bytes(self) -> bytes:
        """The model, with shapes of inner values left for ONNX Runtime to infer."""
        del self.model.graph.node[:]
        self.model.graph.node.extend(self.nodes)
        del self.model.graph.value_info[:]
        return bytes(self.model.SerializeToString())


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes by name."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def conv_shape(node: Any) -> ConvShape | None:
    """How a Conv node moves over its input; None for any other node, and for padding that depends on the input."""
    if node is None or node.op_type != "Conv":
        return None
    found = attributes(node)
    if found.get("auto_pad", b"NOTSET") != b"NOTSET" or len(found.get("kernel_shape", (1, 1))) != 2:
        return None
    return ConvShape(
        found.get("group", 1), tuple(found.get("pads", (0, 0, 0, 0))), tuple(found.get("strides", (1, 1))), tuple(found.get("dilations", (1, 1)))
    )


def conv_weights(graph: Graph, node: Any) -> tuple[Array, Array] | None:
    """A Conv node's weights and bias (zeros where it has none); None where they are no constants."""
    weights = graph.constant(node.input[1])
    if weights is None:
        return None
    if len(node.input) < 3 or not node.input[2]:
        return weights, np.zeros(len(weights), np.float32)
    bias = graph.constant(node.input[2])
    return None if bias is None else (weights, bias)
