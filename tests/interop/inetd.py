"""A tiny inetd: ``python -m tests.interop.inetd HOST PORT PROGRAM [ARGUMENTS]``.

It runs the program for each connection, which is its standard input and output.
"""

from __future__ import annotations

import socket
import subprocess
import sys

__all__: list[str] = []


def main(host: str, port: int, command: list[str]) -> None:
    """Serve until it is ended."""

    running: list[subprocess.Popen[bytes]] = []
    with socket.create_server((host, port), backlog=64) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                number = connection.fileno()
                running.append(subprocess.Popen(command, stdin=number, stdout=number))
            running = [process for process in running if process.poll() is None]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
