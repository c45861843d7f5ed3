"""Run networks on devices with their own threads, fed in batches by many callers."""
