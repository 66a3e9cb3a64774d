"""Runs the client: ``python -m examples.client``."""

from __future__ import annotations

import sys

from examples.client.command_line import main

if __name__ == "__main__":
    sys.exit(main())
