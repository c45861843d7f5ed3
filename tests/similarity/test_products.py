"""Products of bytes: right, bounded in their error, and not used where the processor gets them wrong."""

from __future__ import annotations

import numpy as np
import pytest

from facecli.errors import DeviceError
from facecli.similarity import products
from facecli.similarity.codes import pair_similarities, to_float32
from facecli.similarity.products import BYTES_FROM, GRAPH, ByteProducts, FloatProducts, allowance, choose_products


def test_the_graph_is_what_the_onnx_package_makes() -> None:
    from onnx import TensorProto, helper

    shapes = {"a": (TensorProto.UINT8, ["n", "d"]), "b": (TensorProto.INT8, ["d", "m"])}
    inputs = [helper.make_tensor_value_info(name, *shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("y", TensorProto.INT32, ["n", "m"])
    zero = helper.make_tensor("z", TensorProto.UINT8, [], [128])
    node = helper.make_node("MatMulInteger", ["a", "b", "z"], ["y"])
    model = helper.make_model(
        helper.make_graph([node], "g", inputs, [output], [zero]), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    assert model.SerializeToString() == GRAPH


@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_the_error_of_a_product_is_within_its_allowance(scale: float) -> None:
    """Also for vectors with a few values far larger than the rest, which do not fit a byte."""
    vectors = np.random.default_rng(3).standard_normal((600, 512), np.float32)
    vectors[::7, :3] *= scale
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes = vectors.astype(np.float16)
    way = ByteProducts()
    rows, columns = way.scale(codes), way.scale(vectors[:100])
    rough = way.multiply(rows, columns.columns()) * (rows.unit * columns.unit)
    right = codes.astype(np.float64) @ vectors[:100].astype(np.float64).T
    errors = abs(rough - right)
    assert (errors <= allowance(rows.slack[:, None], columns.slack)).all()
    assert errors.max() > 1e-4


def test_wrong_products_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that adds pairs of products in 16 bits."""
    right = ByteProducts.multiply
    monkeypatch.setattr(ByteProducts, "multiply", lambda *a: right(*a).clip(-(2**15), 2**15 - 1))
    products._fastest.cache_clear()
    try:
        assert isinstance(choose_products(BYTES_FROM), FloatProducts)
    finally:
        products._fastest.cache_clear()


def test_without_onnx_runtime_products_are_of_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise DeviceError("a library is missing", "onnxruntime")

    monkeypatch.setattr(products, "load_onnxruntime", missing)
    products._fastest.cache_clear()
    try:
        assert isinstance(choose_products(BYTES_FROM), FloatProducts)
    finally:
        products._fastest.cache_clear()


def test_few_products_load_nothing() -> None:
    assert isinstance(choose_products(BYTES_FROM - 1), FloatProducts)


def test_similarities_of_pairs_are_exact() -> None:
    vectors = np.random.default_rng(4).standard_normal((700, 512), np.float32)
    codes = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    one, other = np.random.default_rng(5).integers(0, 700, (2, 1000))
    found = pair_similarities((codes, one), (codes, other))
    right = np.array([sum(map(float.__mul__, codes[a].tolist(), codes[b].tolist())) for a, b in zip(one, other)])  # noqa: B905
    np.testing.assert_array_equal(found, right.astype(np.float32))


def test_every_finite_float16_is_converted_exactly() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = bits[np.isfinite(bits)].reshape(-1, 1)
    np.testing.assert_array_equal(to_float32(finite, np.empty((len(finite), 1), np.float32)), finite.astype(np.float32))
