"""Search an index: find the faces of query photos, then similar faces in the index."""
