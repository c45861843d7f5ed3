"""The devices of this machine: chosen by name, or automatically by a measured trial."""
