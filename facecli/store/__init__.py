"""The index on disk: a SQLite catalogue that holds the truth, and a FAISS file derived from it."""
