"""Similarities of many unit vectors at once, exactly, in bounded memory."""
