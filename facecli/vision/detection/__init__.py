"""Face detection: SCRFD on letterboxed photos, further passes, and merging of their results."""
