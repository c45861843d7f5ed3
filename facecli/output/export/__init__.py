"""The formats of an export, one a module, each of which writes records to a file as they come."""
