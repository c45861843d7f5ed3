"""Photos on disk: which files there are, and what their bytes show."""
