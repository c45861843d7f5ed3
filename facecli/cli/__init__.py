"""The command line: parses options, prints, and exits."""
