"""Changes to the catalogue and the vector files: batches, deletions, removals, migrations."""
