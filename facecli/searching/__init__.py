"""Searching: query photos become faces, faces become answers of the index."""
