"""Whole transfers over a data connection: files, listings, streams and relays.

A server handles RETR with one call::

    async with await listen_passive("127.0.0.1", control_peer="127.0.0.1") as endpoint:
        ...  # tell the client endpoint.address, and send the reply 150
        result = await send_file(endpoint, "README.md")
        print(result.reply_code, result.bytes)

Every function ends the connection and reports how it ended. It returns a
`TransferResult` once the peer has everything (sending), or once the peer has announced
the end of file and everything is stored (receiving). For any other end it raises an
`FTPDataError`, which carries the same result, the reply code, and in
`FTPDataError.reply` the line to send. Those that send can tell earlier, by `on_sent`, that
everything has left this system, for a host that would rather save a round trip than be
sure. To end a transfer from elsewhere, with a reason,
abort its endpoint or its `DTP`. Cancelling a transfer resets the connection and leaves
no task, socket, file, thread or temporary file behind.

The pieces:

- `send_file`, `send_listing`, `send_stream` (in `sending`), `receive_file` (in `receiving`),
  `receive_stream` (in `streaming`) and `relay` (in `relaying`);
- `send_records`, `receive_records` (in `records`): a mainframe's records, with their
  boundaries;
- `ReusableConnection`: several files over one connection, in MODE B and C.

All of them apply RFC 959's rules for representation and transmission in the same way:

1. In MODE B, C and Z, and with STRU R, a mark ends the file. An upload without
   the mark was cut, even if the connection ended politely: `TruncatedTransfer`,
   426, `End.INCOMPLETE`. In MODE S with STRU F only `expected_size` can reveal a cut.
2. In MODE B and C the file ends with its mark. The connection is then closed,
   whether or not the peer has closed its side; a `ReusableConnection` stays
   open (250).
3. An `offset` is a position in the file as it is stored, in bytes, whatever TYPE,
   STRU and MODE are. In TYPE I that is what REST means in stream mode. Where the
   bytes on the connection differ from those of the file, RFC 3659 §5.3 requires REST
   to count the bytes on the connection, for which the whole file would have to be
   read; other servers count the stored bytes, too. A restart within a line or a record
   continues within it: the rest is sent as a line or a record of its own.
4. Restart markers (RFC 959 §3.5) are such offsets, in decimal. This holds for the
   markers that are sent every `CodecOptions.marker_interval` bytes in MODE B and C,
   and for the receiver's side of those that arrive. `format_mark_reply` makes the
   reply 110.

The path of one download through the modules::

    transfers.sending.send_file        makes a Report and a PendingFile
      opening.endpoint.link_of         the connection is made: a Link
      transfers._direct                the direct way; connection._delivery decides when
                                       the peer has everything: Done, or HandOver
      opening.endpoint.open            the Link is handed to a DTP
      transfers._supervisor.run        deadlines, aborts; then
        transfers._plain, _sendfile    move the bytes, at the pace of _pace: through
                                       the DTP, or around it (connection._bypass)
        connection._ending             the end of file, and again _delivery
      transfers._report                the result, or the error that carries it

The path of one upload's bytes::

    transfers.receiving.receive_file   makes a Report and a PendingFile
      opening.endpoint.link_of         the connection is made: a Link
      transfers._direct                a small upload arrives whole: Arrived, or HandOver
      opening.endpoint.open            the Link is handed to a DTP
      transfers._supervisor.run        deadlines, aborts; then
        connection._intake             delivers to a queue; connection._wire pauses its peer
        transfers._incoming            decodes the data
        transfers._plain, _splice      write them to the target
        transfers._judging             asks the observer, which may refuse the upload
      files.target.commit              publishes the file under its name
      transfers._report                the result, or the error that carries it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .receiving import receive_file
    from .records import ReceivedRecords, receive_records, send_records
    from .relaying import relay
    from .reuse import ReusableConnection
    from .sending import send_file, send_listing, send_stream
    from .streaming import ReceivedStream, receive_stream

__all__ = [
    "ReceivedRecords",
    "ReceivedStream",
    "ReusableConnection",
    "receive_file",
    "receive_records",
    "receive_stream",
    "relay",
    "send_file",
    "send_listing",
    "send_records",
    "send_stream",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "receiving": ("receive_file",),
            "records": ("ReceivedRecords", "receive_records", "send_records"),
            "relaying": ("relay",),
            "reuse": ("ReusableConnection",),
            "sending": ("send_file", "send_listing", "send_stream"),
            "streaming": ("ReceivedStream", "receive_stream"),
        },
    )
