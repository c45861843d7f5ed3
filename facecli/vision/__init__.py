"""Models: packs, devices, sessions, and the mathematics of detection and alignment."""
