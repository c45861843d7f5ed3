"""Search for the nearest faces: exact scans with numpy, FAISS and GPUs."""
