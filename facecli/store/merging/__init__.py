"""Merge indexes: what each has, in one order, reconciled and written into one."""
