"""What Twisted's own tests say of its DTP, of DTPFactory, and of files and their consumers.

Each is repeated by what it wants (``twisted.test.test_ftp``: DTPTests, DTPFactoryTests,
FTPReadWriteTests, FTPCloseTests, and the port ranges of BasicFTPServerTests), in ftpdata's words; a
docstring says what differs. What they say of whole sessions is in ``tests/test_twisted_shell.py``.
"""

from __future__ import annotations

import asyncio
import io
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.protocols.ftp import ASCIIConsumerWrapper as _ASCIIConsumerWrapper
from twisted.protocols.ftp import FileConsumer as _FileConsumer
from twisted.protocols.ftp import FTPShell as _FTPShell
from twisted.python.filepath import FilePath

from ftpdata import Deadlines, HostPort, PortRange, connect_active, listen_passive
from ftpdata.addresses import parse_eprt, parse_port
from ftpdata.codecs import AsciiDecoder
from ftpdata.connection import DTP, DecodingConsumer
from ftpdata.connection.twisted import ConsumerAdapter, TwistedConsumer
from ftpdata.errors import (
    BadAddress,
    DataConnectionError,
    NotConnected,
    OpenTimeout,
    PortsExhausted,
)
from ftpdata.testing import MemoryTransport
from tests.harness.proxies import free_ports

HOST = "127.0.0.1"
ASCIIConsumerWrapper: Any = _ASCIIConsumerWrapper
FileConsumer: Any = _FileConsumer
FTPShell: Any = _FTPShell


class Watched(io.BytesIO):
    """A file that knows whether it was closed, and what was in it then."""

    kept = b""

    def close(self) -> None:
        """Keep what was written."""

        if not self.closed:
            self.kept = self.getvalue()
        super().close()


def connect() -> tuple[DTP, MemoryTransport]:
    """Return a DTP on a connection in memory."""

    dtp = DTP()
    return dtp, MemoryTransport(dtp)


# The DTP


async def test_a_line_is_sent_with_its_end() -> None:
    """And without a connection it is an error; it is lost in silence in Twisted."""

    dtp, transport = connect()
    dtp.send_line(b"line content")
    assert transport.buffered + transport.sent == b"line content\r\n"
    dtp.abort()
    with pytest.raises(NotConnected):
        dtp.send_line(b"line content")


# DTPFactory


async def test_nobody_comes_in_time() -> None:
    """The time is over, and nothing is left: a connection that comes later is refused.

    The error is for the command that waits for the connection; Twisted sends a 550 unasked.
    """

    endpoint = await listen_passive(
        HOST, control_peer=HOST, deadlines=Deadlines(open=0.05)
    )
    address = endpoint.address
    with pytest.raises(OpenTimeout) as raised:
        await endpoint.open()
    assert raised.value.reply_code == 425
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(address.host, address.port)


async def test_an_endpoint_gives_one_connection() -> None:
    """A second one is an error; a factory returned None. The time ends with the first one."""

    endpoint = await listen_passive(
        HOST, control_peer=HOST, deadlines=Deadlines(open=0.05)
    )
    reader, writer = await asyncio.open_connection(HOST, endpoint.address.port)
    dtp = await endpoint.open()
    with pytest.raises(RuntimeError, match="one connection"):
        await endpoint.open()
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, passed.set)
    await passed.wait()
    assert dtp.is_connected
    dtp.abort()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_connection_that_fails() -> None:
    """It is a 425 at once, and stays it; no time that passes later changes that."""

    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    endpoint = connect_active(
        HostPort(HOST, port), control_peer=HOST, deadlines=Deadlines(open=0.05)
    )
    with pytest.raises(DataConnectionError) as raised:
        await endpoint.open()
    assert raised.value.reply_code == 425
    assert not isinstance(raised.value, OpenTimeout)
    with pytest.raises(RuntimeError):
        await endpoint.open()


async def test_port_ranges() -> None:
    """A port of the range is taken, and none is found where none is free.

    Twisted takes the first one, so that anybody can tell which is next; here it is any.
    """

    ports = free_ports(2)
    with socket.create_server((HOST, ports.first)):
        endpoint = await listen_passive(HOST, control_peer=HOST, ports=ports)
        assert endpoint.address.port == ports.first + 1
        with pytest.raises(PortsExhausted) as raised:
            await listen_passive(HOST, control_peer=HOST, ports=ports)
        assert raised.value.reply_code == 425
        await endpoint.aclose()
    # Another failure is another error, and no port is tried in vain.
    with pytest.raises(DataConnectionError) as failed:
        await listen_passive("192.0.2.1", control_peer=HOST, ports=PortRange(2000, 65535))
    assert not isinstance(failed.value, PortsExhausted)


def test_addresses() -> None:
    """A number beyond a byte is refused. Twisted refuses it, too, but no port beyond 65535."""

    assert parse_port("25,234,129,22,100,23") == HostPort("25.234.129.22", 25623)
    for place in range(6):
        numbers = ["1"] * 6
        numbers[place] = "256"
        with pytest.raises(BadAddress):
            parse_port(",".join(numbers))
    with pytest.raises(BadAddress):
        parse_eprt("|1|127.0.0.1|99999|")


# Files and their consumers


async def test_a_file_is_closed_once_all_has_come() -> None:
    """Not before the data, not by them, but by the end; and before anybody learns of that."""

    dtp, transport = connect()
    file = Watched()
    waiter = dtp.register_consumer(ConsumerAdapter(FileConsumer(file)))
    assert not file.closed
    transport.deliver(b"some data")
    assert not file.closed
    transport.feed_eof()
    await waiter
    assert file.kept == b"some data"
    await dtp.wait_closed()


@pytest.mark.blocking_allowed("Twisted's files block the event loop")
async def test_the_files_of_a_shell(tmp_path: Path) -> None:
    """``IReadFile.send`` and ``IWriteFile.receive`` move exactly the bytes, through DTPs."""

    content = bytes(range(256)) * 1000
    path = tmp_path / "read"
    path.write_bytes(content)
    shell = FTPShell(FilePath(str(tmp_path)))
    loop = asyncio.get_running_loop()
    passive = await listen_passive(HOST, control_peer=HOST)
    active = connect_active(passive.address, control_peer=HOST)
    sender, receiver = await asyncio.gather(passive.open(), active.open())

    writing = await shell.openForWriting(["written"]).asFuture(loop)
    consumer = await writing.receive().asFuture(loop)
    received = receiver.register_consumer(ConsumerAdapter(consumer))
    reading = await shell.openForReading(["read"]).asFuture(loop)
    sent = reading.send(TwistedConsumer(sender)).asFuture(loop)
    await received
    await writing.close().asFuture(loop)
    await sender.wait_closed()
    await sent
    assert (tmp_path / "written").read_bytes() == content
    with pytest.raises(AssertionError, match="once"):
        reading.send(TwistedConsumer(DTP()))


async def test_line_ends_of_an_upload() -> None:
    """A decoder stands before Twisted's consumer; Twisted's wrapper fails on Python 3 (#9555)."""

    dtp, transport = connect()
    file = Watched()
    waiter = dtp.register_consumer(
        DecodingConsumer(ConsumerAdapter(FileConsumer(file)), AsciiDecoder())
    )
    transport.deliver(b"one\r")
    transport.deliver(b"\ntwo\r\n")
    transport.feed_eof()
    await waiter
    assert file.kept == b"one\ntwo\n"
    await dtp.wait_closed()
    with pytest.raises(TypeError):
        ASCIIConsumerWrapper(FileConsumer(Watched())).write(b"one\n")
