"""Index photos: find changes, read new photos, write them, prune missing ones, and report."""
