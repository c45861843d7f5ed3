"""The models: packs, devices, sessions, and the mathematics of detection and alignment."""
