"""Faster forms of networks with the same results, each verified before use."""
