"""The command line: parses, prints and exits; all else is below it."""
