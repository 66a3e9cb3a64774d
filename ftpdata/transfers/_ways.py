"""The values that a fast way returns: the end of the transfer, or where the plain way goes on.

A fast way is a function that handles the good case. In every other case the plain way
goes on from exactly the point that the fast one has reached.
"""

from __future__ import annotations

import attrs

from ..outcome import TransferResult

__all__ = ["NOTHING_SENT", "Arrived", "Done", "HandOver"]


@attrs.frozen
class Done:
    """The transfer is over, with a clean end.

    Attributes:
        result: The result of the transfer.
    """

    result: TransferResult


@attrs.frozen
class Arrived:
    """A whole upload has arrived, with a clean end. It is not stored yet.

    Attributes:
        data: All bytes of the file.
    """

    data: bytes


@attrs.frozen
class HandOver:
    """The transfer goes on in the plain way.

    The endpoint's link knows what was sent over the socket and what was received, and
    hands it to the `DTP`.

    Attributes:
        sent: Bytes of the file that the socket took.
        end_is_sent: Whether the end of file has followed them.
        failure: The error that the system reported for the connection; it reports an error
            only once.
    """

    sent: int = 0
    end_is_sent: bool = False
    failure: OSError | None = None


NOTHING_SENT = HandOver()
