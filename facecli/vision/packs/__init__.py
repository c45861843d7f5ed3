"""Model packs: which there are, what a model file is, fetching and checking them."""
