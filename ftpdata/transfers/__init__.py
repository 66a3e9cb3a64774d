"""Whole transfers over a data connection: files, listings, streams and relays.

In a server, the handler of RETR::

    async with await listen_passive("127.0.0.1", control_peer="127.0.0.1") as endpoint:
        ...  # tell the client endpoint.address, and send the reply 150
        result = await send_file(endpoint, "README.md")
        print(result.reply_code, result.bytes)

Every function ends the connection, truthfully. It returns a `TransferResult` once
the peer has everything (sending), or has announced the end of file and all is
stored (receiving); for any other end it raises an `FTPDataError` that carries the
same result, the reply code, and in `FTPDataError.reply` the line to send. To end a
transfer from anywhere, with a reason, abort its endpoint or its `DTP`. Cancelling a
transfer resets the connection and leaves no task, socket, file, thread or temporary
file behind.

The pieces:

- `send_file`, `send_listing`, `send_stream` (in `sending`), `receive_file`,
  `receive_stream` (in `receiving`) and `relay` (in `relaying`);
- `ReusableConnection`: several files over one connection, in MODE B and C.

What RFC 959 says about representation and transmission holds for all of them, by
the same rules:

1. In MODE B, C and Z, and with STRU R, a mark ends the file. An upload without
   it was cut, even where the connection ended politely: `TruncatedTransfer`,
   426, `End.INCOMPLETE`. In MODE S with STRU F nothing tells, except
   `expected_size`.
2. In MODE B and C the file is over with its mark, and the connection is closed
   then, whether the peer has closed its side or not; a `ReusableConnection` stays
   open (250).
3. An `offset` is a place in the file as it is stored, in bytes, whatever TYPE,
   STRU and MODE are. In TYPE I that is what REST means in stream mode; where
   bytes on the connection are others than those of the file, RFC 3659 §5.3
   would have them counted, which nobody can do without the whole file; other
   servers do as this one does. A restart within a line or a record goes
   on within it: what is sent begins there, as a line or a record of its own.
4. Restart markers (RFC 959 §3.5) are such offsets, in decimal: those that are
   sent every `CodecOptions.marker_interval` bytes in MODE B and C, and the
   receiver's side of those that come. `format_mark_reply` makes the reply 110.

The way of one download by its path, room by room::

    transfers.sending.send_file        plans: the report, the file that is being opened
      opening.endpoint.connect         the connection comes: a Link
      transfers._direct                the direct way; its connection._delivery says when
                                       the peer has everything: Done, or HandOver
      opening.endpoint.open            the Link is handed to a DTP
      transfers._supervisor.run        deadlines, aborts; then
        transfers._sendfile, _plain    move the bytes, at the _pace that is right
        connection.protocol.finish     the end of file, and the same _delivery
      transfers._report                the result, or the error that carries it

The way of one upload's bytes::

    transfers.receiving.receive_file   plans: the report, the target that is being opened
      opening.endpoint.connect         the connection comes: a Link
      transfers._direct                a small upload arrives whole: Arrived, or HandOver
      opening.endpoint.open            the Link is handed to a DTP
      transfers._supervisor.run        deadlines, aborts; then
        connection.protocol            delivers to a queue, and pauses its peer
        transfers._incoming            decodes what came
        transfers._plain, _splice      write it to the target
      files.target.commit              publishes the file under its name
      transfers._report                the result, or the error that carries it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .receiving import ReceivedStream, receive_file, receive_stream
    from .relaying import relay
    from .reuse import ReusableConnection
    from .sending import send_file, send_listing, send_stream

__all__ = [
    "ReceivedStream",
    "ReusableConnection",
    "receive_file",
    "receive_stream",
    "relay",
    "send_file",
    "send_listing",
    "send_stream",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "receiving": ("ReceivedStream", "receive_file", "receive_stream"),
            "relaying": ("relay",),
            "reuse": ("ReusableConnection",),
            "sending": ("send_file", "send_listing", "send_stream"),
        },
    )
