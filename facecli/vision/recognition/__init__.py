"""Face recognition: aligned crops and their embeddings."""
