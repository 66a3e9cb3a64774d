"""What a client has chosen for the transfers that follow."""

from __future__ import annotations

import attrs

from ftpdata import CodecOptions, FactSelection, RepresentationType, TransferParameters

from .listings import FACTS
from .settings import Settings

__all__ = ["WHOLE", "Choices", "Restart"]

ALL_FACTS = FactSelection(supported=FACTS)


@attrs.frozen
class Restart:
    """Which part of a file the next transfer is about (REST, RANG).

    Attributes:
        offset: Where it begins, in bytes.
        end: Where it ends: the first byte that does not belong to it. None for
            the end of the file.
    """

    offset: int = 0
    end: int | None = None


WHOLE = Restart()
"""The whole file."""


@attrs.define(kw_only=True)
class Choices:
    """The choices of one session, from a login to the next.

    Attributes:
        parameters: TYPE, STRU and MODE.
        options: What TYPE, STRU and MODE leave open; OPTS MODE sets some of it.
        restart: What REST or RANG said, for the next transfer command.
        hash_name: The algorithm of HASH.
        facts: The facts that MLST and MLSD show.
    """

    parameters: TransferParameters
    options: CodecOptions
    restart: Restart = WHOLE
    hash_name: str = "SHA-256"
    facts: FactSelection = ALL_FACTS

    @classmethod
    def defaults(cls, settings: Settings) -> Choices:
        """Return the choices of a client that has made none.

        RFC 959 §5.1: ASCII Non-print is the default. Most clients say TYPE I at once.
        """

        return cls(
            parameters=TransferParameters(
                type=RepresentationType.ASCII, encoding=settings.code_page
            ),
            options=settings.codec_options,
        )

    def take_restart(self) -> Restart:
        """Return what REST or RANG said; it is good for this one command."""

        restart, self.restart = self.restart, WHOLE
        return restart
