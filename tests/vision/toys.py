"""Small graphs with the patterns of real packs, built node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


class Toy:
    """Builds a network node by node."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def nothing(self) -> tuple[str, str]:
        """The two empty inputs that exporters pass to Resize."""
        return self.constant(np.zeros(0, np.float32)), self.constant(np.zeros(0, np.float32))

    def add(self, kind: str, *inputs: str, out: str = "", **settings: Any) -> str:
        out = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **settings))
        return out

    def conv(self, source: str, channels: tuple[int, int], *, kernel: int = 3, stride: int = 1, group: int = 1) -> str:
        weights = self.rng.normal(0, 0.3, (channels[1], channels[0] // group, kernel, kernel)).astype(np.float32)
        names = self.constant(weights), self.constant(self.rng.normal(0, 0.1, channels[1]).astype(np.float32))
        pad = kernel // 2
        return self.add(
            "Conv", source, *names, kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[stride] * 2, group=group
        )

    def prelu(self, source: str, channels: int) -> str:
        return self.add("PRelu", source, self.constant(self.rng.normal(0.2, 0.8, (channels, 1, 1)).astype(np.float32)))

    def norm(self, source: str, channels: int) -> str:
        values = [self.rng.uniform(0.5, 1.5, channels).astype(np.float32) for _ in range(4)]
        return self.add("BatchNormalization", source, *map(self.constant, values), epsilon=1e-5)

    def model(self, shape: list[int | str], outputs: list[tuple[str, list[int | str]]]) -> bytes:
        described = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs]
        graph = helper.make_graph(
            self.nodes,
            "toy",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            described,
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def iresnet(side: int = 8) -> bytes:
    """The pattern of w600k_r50 and glintr100, declared for one crop.

    Normalisation, convolution, PRelu, convolution, a shortcut.
    """
    toy = Toy()
    x = toy.prelu(toy.conv("input", (3, 8)), 8)
    for channels in ((8, 8), (8, 16)):
        stride = 1 if channels[0] == channels[1] else 2
        y = toy.prelu(toy.conv(toy.norm(x, channels[0]), channels), channels[1])
        shortcut = x if stride == 1 else toy.conv(x, channels, kernel=1, stride=2)
        x = toy.add("Add", toy.conv(y, (channels[1], channels[1]), stride=stride), shortcut)
    flat = toy.add("Flatten", toy.norm(x, 16))
    weights = toy.constant(toy.rng.normal(0, 0.05, (32, 16 * (side // 2) ** 2)).astype(np.float32))
    y = toy.add("Gemm", flat, weights, toy.constant(np.zeros(32, np.float32)), transB=1)
    return toy.model([1, 3, side, side], [(toy.norm(y, 32), [1, 32])])


def mobilefacenet(after_group: int = 1) -> bytes:
    """The pattern of w600k_mbf: a convolution in pairs between two PRelus."""
    toy = Toy()
    x = toy.prelu(toy.conv("input", (3, 12), stride=2), 12)
    x = toy.prelu(toy.conv(x, (12, 12), group=6), 12)
    x = toy.conv(x, (12, 12), kernel=1, group=after_group)
    return toy.model(["None", 3, 16, 16], [(toy.add("Flatten", toy.prelu(x, 12)), [1, 768])])


def scrfd(*, batch: bool, factor: bool = True, pads: int = 1) -> bytes:
    """The patterns of the 500M export and of det_10g.

    500M: open batch, three output axes. det_10g: batch fixed at one, two output axes, a learnt factor.
    """
    toy = Toy()
    maps, x = [], "input"
    for number in range(5):
        x = toy.add("Relu", toy.conv(x, (3 if number == 0 else 8, 8), stride=2))
        maps.append(x)
    bottom = toy.add("Resize", maps[4], *toy.nothing(), _size_of(toy, maps[3]), mode="nearest", nearest_mode="floor",
                     coordinate_transformation_mode="asymmetric")  # fmt: skip
    maps[3] = toy.add("Add", maps[3], bottom)
    outputs: dict[str, list[tuple[str, list[int | str]]]] = {"score": [], "bbox": [], "kps": []}
    for stride, features in zip((8, 16, 32), maps[2:], strict=True):
        for kind, count in (("score", 1), ("bbox", 4), ("kps", 10)):
            y = toy.conv(features, (8, 2 * count), kernel=3 if pads else 1)
            if kind == "bbox" and factor:
                y = toy.add("Mul", y, toy.constant(np.array(1.3, np.float32)))
            y = toy.add("Transpose", y, perm=[0, 2, 3, 1])
            y = toy.add("Reshape", y, toy.constant(np.array([0, -1, count] if batch else [-1, count], np.int64)))
            y = (
                toy.add("Sigmoid", y, out=f"{kind}_{stride}")
                if kind == "score"
                else toy.add("Identity", y, out=f"{kind}_{stride}")
            )
            outputs[kind].append((y, ["b", "n", count] if batch else [2 * (64 // stride) ** 2, count]))
    toy.nodes = _without_identities(toy.nodes)
    return toy.model(["?" if batch else 1, 3, 64, 64], [*outputs["score"], *outputs["bbox"], *outputs["kps"]])


def _size_of(toy: Toy, name: str) -> str:
    """The shape of a map as the exporter computes it for Resize."""
    return toy.add("Cast", toy.add("Shape", name), to=TensorProto.INT64)


def _without_identities(nodes: list[Any]) -> list[Any]:
    """Let the node before an Identity produce its output."""
    names = {n.input[0]: n.output[0] for n in nodes if n.op_type == "Identity"}
    kept = [n for n in nodes if n.op_type != "Identity"]
    for node in kept:
        node.output[0] = names.get(node.output[0], node.output[0])
    return kept
