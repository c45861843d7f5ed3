"""Photos on disk: find the files and decode them."""
