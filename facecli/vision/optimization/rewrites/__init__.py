"""Rewrites of ONNX graphs that change how a network is evaluated, not what it gives. Only they import onnx."""
