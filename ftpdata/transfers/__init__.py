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
   426, `End.INCOMPLETE`. In MODE S with STRU F a file ends where the connection ends. A
   client that is killed between two writes closes politely, and looks like one that has
   finished; only `expected_size` (ALLO) reveals that. A reset, a deadline or an abort is
   noticed in every mode.
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

## Progress and digests

The programs below hold both ends of a connection, so that they run by themselves. In a server
or client one end is the peer's. `progress` is called with the bytes of the file so far and with
their total, if that is known: at most ten times a second, and once at the end. It is called in the
event loop, so it must return at once. `digest` is computed while the bytes pass::

    import asyncio
    import hashlib
    import tempfile
    from pathlib import Path

    from ftpdata import connect_active, listen_passive, receive_file, send_file

    async def both_ends(**options):
        server = await listen_passive("127.0.0.1", control_peer="127.0.0.1", **options)
        return server, connect_active(server.address, control_peer="127.0.0.1")

    def show(done, total):
        print(f"{done} of {total or '?'} bytes")

    async def copy(path):
        server, client = await both_ends()
        sent, received = await asyncio.gather(
            send_file(server, path, progress=show, digest="sha256"),
            receive_file(client, f"{path}.copy", digest="crc32"),
        )
        assert sent.digest == hashlib.sha256(CONTENT).hexdigest()
        assert (received.digest_name, received.bytes) == ("crc32", len(CONTENT))

    CONTENT = b"content" * 100_000
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "file")
        path.write_bytes(CONTENT)
        asyncio.run(copy(path))

For HASH of a file that is not transferred, `ftpdata.digests` has the same names.

## Going on where a transfer was cut

A download that is resumed begins at an `offset`, in bytes of the file; the client gives its own
file with the same `offset`, which is then written in place. (For uploads that are published only
whole and can be resumed nevertheless, see `ftpdata.files`.) ::

    import os

    async def resume(path, copy):
        offset = os.stat(copy).st_size  # what REST says
        server, client = await both_ends()
        await asyncio.gather(
            send_file(server, path, offset=offset), receive_file(client, copy, offset=offset)
        )

    with tempfile.TemporaryDirectory() as directory:
        path, copy = Path(directory, "file"), Path(directory, "copy")
        path.write_bytes(CONTENT)
        copy.write_bytes(CONTENT[:1000])  # what came before the cut
        asyncio.run(resume(path, copy))
        assert copy.read_bytes() == CONTENT

## A rate for each connection, each user and all

Buckets form a tree. A transfer gets the one of its connection, which shares what is above it
with all others there. Reading and writing need a tree each. The time is that of the event
loop::

    from ftpdata import TokenBucket

    async def throttled(path):
        now = asyncio.get_running_loop().time()
        everyone = TokenBucket(100_000_000, now=now)  # bytes per second
        ann = TokenBucket(20_000_000, parent=everyone, now=now)  # all that Ann downloads
        connection = TokenBucket(None, parent=ann, now=now)  # no limit of its own
        server, client = await both_ends()
        sent, _ = await asyncio.gather(
            send_file(server, path, throttle=connection), receive_file(client, f"{path}.copy")
        )
        ann.rate = 50_000_000  # from now on, for those that run, too
        return sent

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "file")
        path.write_bytes(CONTENT * 4)
        asyncio.run(throttled(path))

A server keeps the bucket of a user as long as the user has a session, as
``examples/server/rates.py`` does. A throttled download still goes by ``sendfile``.

## Aborts and deadlines

ABOR comes over the control connection while the transfer runs, so it has to be read meanwhile:
run the transfer in a task. ``endpoint.abort()`` ends it at any moment, before the connection
is there, too; the transfer raises `TransferAborted`, 426, and the server replies 226 to ABOR
itself after that (RFC 959 §4.1.3). A deadline ends it in the same way::

    from ftpdata import Deadlines, TransferAborted

    async def aborted(path):
        server, client = await both_ends(deadlines=Deadlines(open=10.0, stall=60.0))
        retr = asyncio.ensure_future(send_file(server, path))
        dtp = await client.open()  # the client has connected, and reads nothing
        await asyncio.sleep(0)
        server.abort(message="the client said ABOR")
        try:
            await retr
        except TransferAborted as error:
            assert error.reply == "426 Aborted by this side."  # the message is for the log
        dtp.abort()

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "file")
        path.write_bytes(CONTENT * 100)
        asyncio.run(aborted(path))

`Deadlines` has one limit for each phase: until the peer connects (425), for the TLS handshake
(522), until the first byte, without progress, below a rate, and at the end. Each has its `End`.

## Saving a round trip

226 is true: it comes when the peer's kernel has acknowledged every byte. A host that would
rather save that round trip replies when everything has left its own system, and logs what
`send_file` says afterwards. A connection that is lost then is in the log alone, and the client
has to compare sizes::

    from ftpdata import FTPDataError

    async def retr(endpoint, path, reply):
        replied = []

        def sent(result):  # called once, or never, if the transfer fails before
            replied.append(result)
            reply(f"226 {result.bytes} bytes.")

        try:
            await send_file(endpoint, path, on_sent=sent)
        except FTPDataError as error:
            if not replied:
                reply(error.reply)

    async def sent_early(path):
        server, client = await both_ends()
        await asyncio.gather(retr(server, path, print), receive_file(client, f"{path}.copy"))

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "file")
        path.write_bytes(CONTENT)
        asyncio.run(sent_early(path))

## The path of a transfer through the modules

Of one download::

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

Of one upload::

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
