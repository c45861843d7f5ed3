"""Entry point of `python -m facecli`."""

import _signal as signal  # type: ignore[import-not-found]  # built in: see facecli/cli/main.py
import os

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, _frame: os._exit(128 + number))
    from facecli.cli.main import main

    main()
