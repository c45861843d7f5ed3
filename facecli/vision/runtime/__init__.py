"""Sessions of ONNX Runtime and OpenVINO, and the driver of NVIDIA's GPUs."""
