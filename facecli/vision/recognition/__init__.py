"""Aligned crops of faces and their embeddings."""
