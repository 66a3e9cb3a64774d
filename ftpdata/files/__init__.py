"""Files and directories, read and written without blocking the event loop.

The transfers open a file themselves if they get a path. To find out what is wrong with a file
before the data connection is opened, or for more options than a path has, open it here. A first
example::

    import asyncio
    import tempfile
    from pathlib import Path

    from ftpdata.files import FileSource, FileTarget, WriteMode

    async def copy(old: Path, new: Path) -> None:
        source = await FileSource.open(old)
        try:
            target = await FileTarget.open(new, mode=WriteMode.EXCLUSIVE)
            try:
                while data := await source.read():
                    await target.write(data)
            except BaseException:
                await target.discard()
                raise
            await target.commit()
        finally:
            source.close()

    with tempfile.TemporaryDirectory() as directory:
        old, new = Path(directory, "old"), Path(directory, "new")
        old.write_bytes(b"content")
        asyncio.run(copy(old, new))
        assert new.read_bytes() == b"content"

The pieces:

- `source`: `FileSource`, a file that is sent. It knows its size, if the file has one.
- `target`: `FileTarget`, a file that is received, and `WriteMode`, which says what happens to an
  existing file. An upload is published when it is complete. If it is cut, only files that the
  upload itself has made are removed.
- `spooled`: `SpooledTarget`, which keeps a copy of any upload to be read before it is committed.
- `parts`: `PartStore` and `PartOwner`, which keep what came of an upload that was cut, so that a
  resumption can go on with it.
- `beneath`: `opened_beneath`, `open_beneath` and `locate_beneath`, which find what a client's path
  means, and nothing outside of the served directory.
- `directories`: `list_directory` and `DirectoryLister`, which make the lines of a directory.
- `directory_reader`: `DirectoryReader`, which reads the entries for them, and blocks.

Every call that may wait for a disk runs in a worker thread. A limiter bounds their number: there is
one for each event loop, unless a store has its own.

## Uploads that are cut

What becomes of an upload until it is whole, and if it never is? A host has three answers. The
reference server has them as ``--uploads``:

- ``resumable``, its default; here `receive_file` with `resume`, or `FileTarget.open` with `parts`.
  Until the upload is whole, the old file has the name, or nothing. If it is cut, what came stays
  hidden, for its user: REST and STOR, or APPE, go on with that, else with the file. For people and
  programs on lines that break.
- ``atomic``; here `receive_file`, or `FileTarget.open`. The same, but nothing is left of an upload
  that is cut. REST and STOR, or APPE, go on with the file. For anonymous users, and for stores that
  are short of room.
- ``in-place``; here `WriteMode.IN_PLACE`. What came so far has the name, and is left there if the
  upload is cut. REST and STOR, or APPE, go on with the file. For programs that read a file while it
  is written, as with vsftpd.

What came of an upload that was cut is a *part*: a hidden file beside the one that it would have
become. It belongs to one owner, whom the host names. This upload is cut, and is resumed where it
was cut::

    from ftpdata import FTPDataError, connect_active, listen_passive, receive_file
    from ftpdata.files import PartStore

    async def main(directory: Path) -> None:
        path, content = directory / "file", b"content" * 100_000
        with PartStore(directory) as store:
            ann = store.owner("ann")
            server = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
            stor = asyncio.create_task(receive_file(server, path, resume=ann))
            client = await connect_active(server.address, control_peer="127.0.0.1").open()
            client.write(content[:500_000])
            await client.drain()
            client.abort()  # the line breaks
            try:
                await stor
            except FTPDataError as error:
                assert error.reply_code == 426
            assert not path.exists()

            part = await asyncio.to_thread(ann.look, path)
            size = part.size if part else 0  # what the server tells the client (SIZE)
            server = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
            stor = asyncio.create_task(receive_file(server, path, resume=ann, offset=size))
            client = await connect_active(server.address, control_peer="127.0.0.1").open()
            client.write(content[size:])  # after REST
            await client.finish()
            await stor
            assert path.read_bytes() == content

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(Path(directory)))

Call `PartStore.clean` now and then, in a thread: it removes parts that are too old or too many
(`PartLimits`), and what processes that were killed have left. Refuse the names of parts in commands
(`is_reserved`); the listings of this package leave them out.

Two clients of one user who send different files under one name at the same time are one client
to the server: if one of them resumes, it takes over what the other sends. Parts need a file system
with locks (flock), as local ones on Linux and macOS are. An upload into a file that may be written
but not replaced leaves none. Let an upload in TYPE A leave none, either, as the reference server
does: an offset in its part would not be one in the client's file. What a client has sent in the
last moment before a cut may have to be sent again.
``tests/promises.md`` has each rule about parts, with its tests.

## Stores of your own

A file of memory, of a database or of a network takes an upload as an
`ftpdata.contracts.UploadTarget`: three coroutines, of which one of the last two is called exactly
once. What is sent comes from any asynchronous iterable, by `ftpdata.send_stream`. (For what is not
there, raise `ftpdata.FileUnavailable`, 550. Entries for a listing are in the guide of
`ftpdata.listing`.) ::

    from ftpdata import send_stream

    class MemoryTarget:
        def __init__(self, files: dict[str, bytes], name: str) -> None:
            self.files, self.name, self.data = files, name, bytearray()

        async def write(self, data: bytes) -> None:  # return late to slow the sender down
            self.data += data

        async def commit(self) -> None:
            self.files[self.name] = bytes(self.data)

        async def discard(self) -> None:
            self.data.clear()

    async def chunks(data: bytes):
        for start in range(0, len(data), 65536):
            yield data[start : start + 65536]

    async def copy_in_memory(files: dict[str, bytes]) -> None:
        server = await listen_passive("127.0.0.1", control_peer="127.0.0.1")
        client = connect_active(server.address, control_peer="127.0.0.1")
        await asyncio.gather(
            receive_file(server, MemoryTarget(files, "copy"), size_limit=1_000_000),
            send_stream(client, chunks(files["file"])),
        )

    files = {"file": b"content"}
    asyncio.run(copy_in_memory(files))
    assert files["copy"] == b"content"

`ftpdata.testing.check_upload_target` checks that such a class keeps the contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .beneath import locate_beneath, open_beneath, opened_beneath
    from .directories import DirectoryLister, list_directory
    from .directory_reader import DirectoryReader
    from .parts import (
        PartLimits,
        PartOwner,
        PartStatus,
        PartStore,
        RemovedPart,
        is_reserved,
        remove_reserved,
    )
    from .source import FileSource
    from .spooled import SpooledTarget
    from .target import FileTarget, WriteMode

__all__ = [
    "DirectoryLister",
    "DirectoryReader",
    "FileSource",
    "FileTarget",
    "PartLimits",
    "PartOwner",
    "PartStatus",
    "PartStore",
    "RemovedPart",
    "SpooledTarget",
    "WriteMode",
    "is_reserved",
    "list_directory",
    "locate_beneath",
    "open_beneath",
    "opened_beneath",
    "remove_reserved",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "beneath": ("locate_beneath", "open_beneath", "opened_beneath"),
            "directories": ("DirectoryLister", "list_directory"),
            "directory_reader": ("DirectoryReader",),
            "parts": (
                "PartLimits",
                "PartOwner",
                "PartStatus",
                "PartStore",
                "RemovedPart",
                "is_reserved",
                "remove_reserved",
            ),
            "source": ("FileSource",),
            "spooled": ("SpooledTarget",),
            "target": ("FileTarget", "WriteMode"),
        },
    )
