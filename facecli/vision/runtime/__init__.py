"""ONNX Runtime and OpenVINO sessions, and queries to NVIDIA's driver."""
