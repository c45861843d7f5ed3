"""Durable writes, locks, file system types and recovery after crashes."""
