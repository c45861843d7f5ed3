"""Model packs: find, inspect, download and verify them."""
