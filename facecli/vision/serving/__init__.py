"""Networks on devices of their own, fed in batches by many threads."""
