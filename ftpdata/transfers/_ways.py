"""What a fast way returns: the end of the transfer, or where the plain way goes on.

A fast way is a function that does the good case. Whatever is not the good case
goes on in the plain way, from exactly where the fast one has come to.
"""

from __future__ import annotations

import attrs

from ..outcome import TransferResult

__all__ = ["NOTHING_SENT", "Arrived", "Done", "HandOver"]


@attrs.frozen
class Done:
    """The transfer is over, with a clean end.

    Attributes:
        result: What it did.
    """

    result: TransferResult


@attrs.frozen
class Arrived:
    """A whole upload has come, with a clean end. Nothing of it is stored yet.

    Attributes:
        data: All of it.
    """

    data: bytes


@attrs.frozen
class HandOver:
    """The transfer goes on in the plain way.

    What went over a socket, and what was received, the endpoint's link knows and
    hands to the `DTP`.

    Attributes:
        sent: Bytes of the file that the socket took.
        end_is_sent: Whether the end of file has followed them.
        failure: What the system said about the connection; it says so only once.
    """

    sent: int = 0
    end_is_sent: bool = False
    failure: OSError | None = None


NOTHING_SENT = HandOver()
