"""All that one transfer does to the bytes of a file, as one encoder or one decoder.

Pure. `encoder_for` and `decoder_for` in `ftpdata.codecs.selection` choose the stages. This module
joins them with what only the whole transfer knows: its position in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from .._views import byte_view
from ..contracts import Buffer, Encoder
from ._record_stages import RecordsToFile
from .block import BlockDecoder
from .chain import chain_decoders, chain_encoders
from .compressed import CompressedDecoder
from .deflate import DeflateDecoder
from .representation import AsciiDecoder, EbcdicDecoder, IdentityDecoder
from .restart import RestartMarker, SuspectData
from .stream import StreamRecordDecoder

__all__ = ["TransferDecoder", "TransferEncoder"]


class TransferEncoder:
    """All that one transfer does to the bytes of a file that it sends; made by `encoder_for`.

    No restart marker is sent between CR and LF or within a character, so a transfer that
    begins at a marker sends the same as one that was not interrupted.

    Args:
        stages: Encoders in order, the representation first.
        marker: Makes the marker with that text; None sends no markers.
        interval: Bytes of the file from marker to marker.
        offset: Where in the file the transfer begins, in bytes.
        unmarked: Bytes of the file after which no marker may be sent.
    """

    def __init__(
        self,
        *stages: Encoder,
        marker: Callable[[str], Iterable[bytes]] | None = None,
        interval: int = 0,
        offset: int = 0,
        unmarked: frozenset[int] = frozenset(),
    ) -> None:
        self._encoder = chain_encoders(*stages)
        self._marker = marker
        self._interval = interval
        self._offset = offset
        self._unmarked = unmarked
        # Bytes of the file up to the next marker.
        self._left = interval

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Encode data; return pieces, lazily.

        Raises:
            InvalidData: The file is not a text that TYPE E can send. Reply 451.
        """

        return self._encoder.feed(data) if self._marker is None else self._feed_marking(data)

    def finish(self) -> Iterable[bytes]:
        """Return what is still held, and the end mark of the mode.

        Raises:
            InvalidData: The file ends within a character. Reply 451.
        """

        return self._encoder.finish()

    def _feed_marking(self, data: Buffer) -> Iterator[bytes]:
        assert self._marker is not None
        view = byte_view(data)
        start = 0
        while start < len(view):
            part = view[start : start + self._left]
            yield from self._encoder.feed(part)
            start += len(part)
            self._offset += len(part)
            self._left -= len(part)
            if self._left:
                return

            if part[-1] in self._unmarked:
                self._left = 1
            else:
                yield from self._marker(str(self._offset))
                self._left = self._interval


ModeDecoder = (
    BlockDecoder | CompressedDecoder | DeflateDecoder | RecordsToFile | StreamRecordDecoder
)


class TransferDecoder:
    """All that one transfer does to the bytes that it receives; made by `decoder_for`.

    Args:
        transmission: Decoders of the transmission mode, in order; stream mode with file
            structure has none.
        representation: Decoders of the representation type.
        offset: Where in the file the transfer begins, in bytes.
        on_marker: Called with each restart marker.
        on_suspect: Called before data that their sender marked as suspect.
    """

    def __init__(
        self,
        *,
        transmission: Sequence[ModeDecoder],
        representation: Sequence[AsciiDecoder | EbcdicDecoder | IdentityDecoder],
        offset: int = 0,
        on_marker: Callable[[RestartMarker], None] | None = None,
        on_suspect: Callable[[SuspectData], None] | None = None,
    ) -> None:
        self._transmission = transmission
        self._representation = representation
        self._decoder = chain_decoders(*transmission, *representation)
        self._offset = offset
        self._on_marker = on_marker
        self._on_suspect = on_suspect
        if transmission:
            transmission[0].on_marker = None if on_marker is None else self._note_marker
            transmission[0].on_suspect = None if on_suspect is None else self._note_suspect

    @property
    def has_end_mark(self) -> bool:
        """Whether a mark ends the file; if not, only the end of the connection does."""

        return bool(self._transmission)

    @property
    def complete(self) -> bool:
        """Whether the end mark has been seen; always False if there is none to come."""

        return self.has_end_mark and all(stage.complete for stage in self._transmission)

    @property
    def several_files(self) -> bool:
        """Whether another file may follow on the connection, as in block and compressed mode.

        If so, the file ends when it is `complete`, and the connection may go on. In all other
        modes the connection ends with the file, and further data are an error.
        """

        return any(stage.several_files for stage in self._transmission)

    @property
    def suspect_bytes(self) -> int:
        """Bytes so far that their sender marked as suspect (block and compressed mode)."""

        return self._transmission[0].suspect_bytes if self._transmission else 0

    @property
    def remainder(self) -> bytes:
        """The data after the end of the file, from the same feed: the beginning of the next one."""

        return self._transmission[0].remainder if self._transmission else b""

    def take_remainder(self) -> bytes:
        """Return the data after the end of the file, to be fed to the decoder of the next one."""

        return self._transmission[0].take_remainder() if self._transmission else b""

    def feed(self, data: Buffer) -> Iterable[bytes]:
        """Decode data, up to the end of the file; return pieces, lazily.

        Raises:
            InvalidData: The data are not what the parameters say. Reply 451.
            QuotaExceeded: They expand to more than is allowed. Reply 552.
        """

        return self._counted(self._decoder.feed(data))

    def finish(self) -> Iterable[bytes]:
        """Return what is still held. Call it once: when `complete`, or at the connection's end.

        Raises:
            TruncatedTransfer: The end mark of the mode is missing. Reply 426.
            InvalidData: There are data after the end of the file. Reply 451.
        """

        return self._counted(self._decoder.finish())

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._offset += len(piece)
            yield piece

    def _note_marker(self, marker: RestartMarker) -> None:
        # Between CR and LF, there is no place in the file at which a transfer could resume.
        holds = any(isinstance(it, AsciiDecoder) and it.holds for it in self._representation)
        assert self._on_marker is not None
        if not holds:
            self._on_marker(RestartMarker(marker.text, self._offset))

    def _note_suspect(self, suspect: SuspectData) -> None:
        assert self._on_suspect is not None
        self._on_suspect(SuspectData(self._offset, suspect.size))
