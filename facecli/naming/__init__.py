"""The people of an index: decisions about them, their groups brought up to date, lists and sheets."""
