"""What each command does, in the groups of RFC 959 §4.1.

`access`: access control and directories. `parameters`: what the next transfer
will be like. `protection`: TLS. `transfers`: the transfers. `files`: files and their facts.
`information`: what the server says about itself. Each module adds its commands
to the one `table`.
"""

from __future__ import annotations

from . import access, files, information, parameters, protection, transfers
from .table import COMMANDS, Argument, Command, EndSession, find_command

__all__ = [
    "COMMANDS",
    "Argument",
    "Command",
    "EndSession",
    "access",
    "files",
    "find_command",
    "information",
    "parameters",
    "protection",
    "transfers",
]
