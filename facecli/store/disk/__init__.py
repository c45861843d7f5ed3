"""Durable writes, locks, file systems and the files that a crash leaves."""
