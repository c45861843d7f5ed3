"""The index on disk: a SQLite catalogue, which is authoritative, and a FAISS file derived from it."""
