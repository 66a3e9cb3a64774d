"""The ports that passive connections may use, in an order that nobody can guess.

RFC 2577 §8: a port that can be guessed can be stolen, so ports are chosen with `secrets`.
It knows no sockets: only binding a port shows whether it is free.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import attrs

from .._checks import checked
from ..errors import BadAddress, DataConnectionError
from ..outcome import End

__all__ = ["PortRange"]


def _port(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not 1 <= value <= 65535:  # noqa: PLR2004 - RFC 9293 §3.1: 16 bits
        raise BadAddress(f"{attribute.name} must be a port from 1 to 65535, not {value!r}")


@attrs.frozen(field_transformer=checked)
class PortRange:
    """The ports that passive connections may use. Both ends belong to it.

    Attributes:
        first: Lowest port.
        last: Highest port.

    Raises:
        BadAddress: Not ports, or in the wrong order. Reply 501.
    """

    first: int = attrs.field(validator=_port)
    last: int = attrs.field(validator=_port)

    def __attrs_post_init__(self) -> None:
        if self.last < self.first:
            raise BadAddress(f"a range of ports goes upwards, not from {self.first} to {self.last}")

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last

    def slice(self, worker: int, workers: int) -> PortRange:
        """Return the part of one of several worker processes; parts never overlap.

        Args:
            worker: Which one, from 0.
            workers: How many there are.

        Raises:
            BadAddress: The range has fewer ports than there are workers, or
                `worker` is not one of them. Reply 501.
        """

        if not 0 <= worker < workers <= len(self):
            raise BadAddress(
                f"cannot give worker {worker} of {workers} a part of {len(self)} ports"
            )

        size, rest = divmod(len(self), workers)
        first = self.first + worker * size + min(worker, rest)
        return PortRange(first, first + size - 1 + (worker < rest))

    def shuffled(self) -> Iterator[int]:
        """Yield every port once, each order as likely as any other.

        Memory and work are in proportion to the ports that are asked for, not
        to the range: Fisher and Yates' shuffle, of which only what has been
        exchanged is kept. A walk with a random stride would be cheaper, and
        would prefer the free ports after a long row of those in use.

        Raises:
            DataConnectionError: The system has no random number. Reply 425.
        """

        exchanged: dict[int, int] = {}
        for last in range(len(self) - 1, -1, -1):
            try:
                index = secrets.randbelow(last + 1)
            except OSError as error:
                # PyPy opens a file for each random number.
                raise DataConnectionError(
                    f"cannot choose a port: {error.strerror}", end=End.OPEN_FAILED
                ) from error

            yield self.first + exchanged.get(index, index)
            exchanged[index] = exchanged.pop(last, last)


DYNAMIC_PORTS = PortRange(49152, 65535)
"""The dynamic ports of RFC 6335 §6: what is used where no range is given.

Chosen here rather than by the kernel (port 0), whose choice can be predicted
and falls from thousands to hundreds of listeners a second once many sockets
are in TIME_WAIT."""
