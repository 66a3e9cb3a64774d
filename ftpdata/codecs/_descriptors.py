"""Descriptor codes of block and compressed mode (RFC 959 §3.4.2).

Pure. Stream mode with record structure uses two of them for its own escapes.
"""

from __future__ import annotations

__all__ = ["END_OF_FILE", "END_OF_RECORD", "MARKER", "SUSPECT", "UNASSIGNED"]

END_OF_RECORD = 128
END_OF_FILE = 64
SUSPECT = 32
MARKER = 16
UNASSIGNED = 15
