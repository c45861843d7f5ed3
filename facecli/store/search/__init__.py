"""The nearest faces: exact scans by numpy, by FAISS and on GPUs."""
