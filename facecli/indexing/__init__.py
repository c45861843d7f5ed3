"""Index photos: plan, look, write, prune, report."""
