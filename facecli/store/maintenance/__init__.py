"""An index made, prepared for writing, checked and repaired."""
