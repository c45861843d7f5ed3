"""`python -m facecli`."""

from facecli.cli.main import main

if __name__ == "__main__":
    main()
