"""From photos to embedded faces: the stages, and the worker threads that run them."""
