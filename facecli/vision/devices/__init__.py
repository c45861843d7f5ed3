"""The devices of this machine: chosen by name, or by a measured trial."""
