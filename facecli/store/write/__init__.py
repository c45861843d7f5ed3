"""What a writer does to the catalogue and the vectors: batches, deletions, removals, migrations."""
