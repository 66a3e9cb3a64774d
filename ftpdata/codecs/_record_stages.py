"""Files of records as stages of a transfer: what is on the connection, and what is in the file.

Pure. `ftpdata.codecs.framing` has the records of the connection, `ftpdata.codecs.rdw` those of the
file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..contracts import Buffer
from ..errors import FTPDataError, InvalidData, TruncatedTransfer
from ._pieces import MAX_PIECE, cut_pieces
from .framing import RecordDecoder, RecordEncoder
from .limits import CodecLimits, check_output
from .rdw import RecordReader, RecordWriter
from .restart import MarkerCallback, SuspectCallback

__all__ = ["FileToRecords", "RecordStage", "RecordsToFile"]


class FileToRecords:
    """Encodes the records of a file: an `ftpdata.contracts.Encoder`.

    Args:
        reader: Reads the file.
        encoder: Encodes its records.
    """

    def __init__(self, reader: RecordReader, encoder: RecordEncoder) -> None:
        self._reader = reader
        self._encoder = encoder

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Encode the records that end in the data.

        Raises:
            InvalidData: The file does not hold such records. Reply 451.
        """

        if piece := self._encoder.feed(self._reader.feed(data)):
            yield piece

    def finish(self) -> Iterator[bytes]:
        """Yield the end of the file.

        Raises:
            InvalidData: The file ends within a record. Reply 451.
        """

        try:
            self._reader.finish()
        except TruncatedTransfer as error:
            # It is the file that is cut, and not the transfer.
            raise InvalidData(str(error)) from error

        yield self._encoder.finish()


class RecordStage:
    """The part of a mode's decoder that is its decoder of records.

    Args:
        decoder: Decodes the records.
    """

    suspect_bytes: int = 0

    def __init__(self, decoder: RecordDecoder) -> None:
        self.on_marker: MarkerCallback | None = None
        self.on_suspect: SuspectCallback | None = None
        self._decoder = decoder

    @property
    def complete(self) -> bool:
        """Whether the end of the file has been seen."""

        return self._decoder.complete

    @property
    def several_files(self) -> bool:
        """Whether another file may follow on the connection."""

        return self._decoder.several_files

    @property
    def remainder(self) -> bytes:
        """The data after the end of the file."""

        return self._decoder.remainder

    def take_remainder(self) -> bytes:
        """Return the data after the end of the file, to be fed to the decoder of the next one."""

        return self._decoder.take_remainder()

    def _decode(
        self, data: Buffer, take: Callable[[bytes], object]
    ) -> FTPDataError | None:
        """Take the records that end in the data; return the error that follows them, if any."""

        try:
            for record in self._decoder.feed(data):
                take(record)
        except FTPDataError as error:
            return error

        return None


class RecordsToFile(RecordStage):
    """Makes a file of the records that arrive: the decoder of a mode.

    Args:
        decoder: Decodes the records.
        writer: Writes the file.
        limits: What the peer may ask.
    """

    def __init__(
        self, decoder: RecordDecoder, writer: RecordWriter, limits: CodecLimits
    ) -> None:
        super().__init__(decoder)
        self._writer = writer
        self._limits = limits
        self._output = 0

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Yield the bytes of the file for the records that end in the data.

        Raises:
            InvalidData: As the decoder, and for a record that the file cannot hold. Reply 451.
            QuotaExceeded: The file has more bytes than is allowed. Reply 552.
        """

        records: list[bytes] = []
        error = self._decode(data, records.append)
        yield from self._bounded(self._writer.feed(records))
        if error is not None:
            try:
                raise error
            finally:
                # Its traceback holds this frame.
                del error

    def finish(self) -> Iterator[bytes]:
        """Yield what is still held.

        Raises:
            FTPDataError: As `feed`, and what the decoder raises at the end.
        """

        self._decoder.finish()
        yield from self._bounded(self._writer.finish())

    def _bounded(self, data: bytes) -> Iterator[bytes]:
        """Cut bytes of the file into pieces, as long as it does not become too large."""

        for piece in cut_pieces(data, MAX_PIECE):
            self._output += len(piece)
            check_output("records", self._output, self._limits)
            yield piece
