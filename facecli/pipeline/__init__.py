"""From files to faces: the stages, and the workers that run them in order."""
