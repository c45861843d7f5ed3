"""Rewrites of ONNX graphs that compute the same results in another way. Only this package imports onnx."""
