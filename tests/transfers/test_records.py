"""Records over real connections: both ways, cut, refused, several files, and at pace."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import attrs
import pytest

from ftpdata.codecs.limits import CodecLimits
from ftpdata.codecs.options import CodecOptions
from ftpdata.errors import (
    FTPDataError,
    InvalidData,
    QuotaExceeded,
    TruncatedTransfer,
    UnsupportedParameter,
)
from ftpdata.outcome import End
from ftpdata.parameters import TransferParameters
from ftpdata.transfers import ReusableConnection, receive_file, receive_records, send_records
from tests.harness.connections import connection, peer_task, receive_all, send_all
from tests.harness.modes import dtp_pair

BLOCK = TransferParameters().with_mode("B").with_type("E")
STREAM = TransferParameters().with_structure("R").with_type("E")
RECORDS = [b"\xc1\xc2", b"", bytes(range(256)) * 600, b"\x12\x3c", *[bytes(80)] * 2000, b"\xff"]

keeping = pytest.mark.parametrize("parameters", [BLOCK, STREAM], ids=["block", "stream"])


async def slowly(records: list[bytes]) -> AsyncIterator[bytes]:
    """Yield records, with turns of other tasks between them."""

    for record in records:
        yield record
        await asyncio.sleep(0)


async def collect(records: AsyncIterator[bytes], found: list[bytes]) -> None:
    """Append records to those found; what came before an error is there."""

    async for record in records:
        found.append(record)  # noqa: PERF401


@keeping
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("iterable", [list, slowly, iter])
async def test_records_both_ways(
    parameters: TransferParameters, tls: bool, iterable: object
) -> None:
    """What is sent arrives with the same boundaries."""

    assert callable(iterable)
    async with dtp_pair(tls=tls) as (here, there):

        async def receive() -> list[bytes]:
            async with receive_records(there, parameters=parameters) as records:
                found = [record async for record in records]
                assert records.result is not None
                assert records.result.end is End.CLEAN
                return found

        sent, found = await asyncio.gather(
            send_records(here, iterable(RECORDS), parameters=parameters), receive()
        )
    assert found == RECORDS
    assert sent.end is End.CLEAN
    assert sent.bytes > sum(map(len, RECORDS))


# The dump of a variable data set as z/OS sends it in MODE B, TYPE E and STRU F: X'80' on each
# record, X'40' on the last one (z/OS Communications Server: IP User's Guide and Commands, MODE).
ZOS = bytes.fromhex("80 0003 C1C2C3  80 0000  00 0001 C1  80 0001 C2  40 0002 123C")


async def test_records_as_z_os_sends_them() -> None:
    """The connection is not waited for: the file ends with its mark."""

    async with connection() as (dtp, peer):
        await asyncio.get_running_loop().sock_sendall(peer, ZOS)
        async with receive_records(dtp, parameters=BLOCK) as records:
            assert [record async for record in records] == [
                b"\xc1\xc2\xc3",
                b"",
                b"\xc1\xc2",
                b"\x12\x3c",
            ]
            assert records.result is not None
            assert records.result.bytes == len(ZOS)
            with pytest.raises(StopAsyncIteration):
                await anext(records)


@pytest.mark.parametrize("iterable", [list, slowly, iter])
async def test_no_records_are_a_file(iterable: object) -> None:
    """It is the end of the file, and nothing else."""

    assert callable(iterable)
    async with connection() as (dtp, peer), peer_task(receive_all(peer)) as received:
        await send_records(dtp, iterable([]), parameters=BLOCK)
        assert await received == b"\x40\x00\x00"


async def test_what_is_sent() -> None:
    """The bytes are those of RFC 959 §3.4.2."""

    async with connection() as (dtp, peer), peer_task(receive_all(peer)) as received:
        result = await send_records(dtp, [b"\xc1", b""], parameters=BLOCK)
        assert await received == bytes.fromhex("80 0001 C1  80 0000  40 0000")
        assert result.bytes == 10


@pytest.mark.parametrize("at", [len(ZOS) - 1, len(ZOS) - 3, 4])
async def test_a_cut_comes_after_the_whole_records(at: int) -> None:
    """A polite end of the connection is none of the file."""

    found: list[bytes] = []
    async with connection() as (dtp, peer):
        await send_all(peer, ZOS[:at])
        async with receive_records(dtp, parameters=BLOCK) as records:
            with pytest.raises(TruncatedTransfer) as caught:
                await collect(records, found)

            assert records.result is not None
            assert records.result.end is End.INCOMPLETE
            with pytest.raises(TruncatedTransfer):
                await anext(records)

    assert caught.value.reply_code == 426
    assert found == ([] if at == 4 else [b"\xc1\xc2\xc3", b"", b"\xc1\xc2"])


async def test_bad_data_come_after_the_whole_records() -> None:
    """They are an error of their own."""

    found: list[bytes] = []
    async with connection() as (dtp, peer):
        await send_all(peer, b"\x80\x00\x01A\x01\x00\x00")
        async with receive_records(dtp, parameters=BLOCK) as records:
            with pytest.raises(InvalidData, match="not a descriptor code: 1"):
                await collect(records, found)

    assert found == [b"A"]


async def test_the_limits_are_those_of_the_options() -> None:
    """A record has a longest length, and the whole a size."""

    options = CodecOptions(limits=CodecLimits(record=5))
    async with connection() as (dtp, peer):
        await send_all(peer, b"\x80\x00\x06abcdef\x40\x00\x00")
        async with receive_records(dtp, parameters=BLOCK, options=options) as records:
            with pytest.raises(InvalidData, match="more than 5 bytes"):
                await anext(records)

    async with connection() as (dtp, peer):
        await send_all(peer, b"\x80\x00\x06abcdef\x40\x00\x00")
        async with receive_records(dtp, parameters=BLOCK, size_limit=11) as records:
            with pytest.raises(QuotaExceeded):
                [record async for record in records]


async def test_empty_records_are_given_as_they_come() -> None:
    """They are not kept until there is a byte; so a peer cannot fill the memory with them."""

    async with connection() as (dtp, peer):
        await asyncio.get_running_loop().sock_sendall(peer, b"\x80\x00\x00" * 3)
        async with receive_records(dtp, parameters=BLOCK) as records:
            assert [await anext(records) for _ in range(3)] == [b""] * 3


async def test_leaving_early_resets_the_connection() -> None:
    """As for any stream."""

    async with connection() as (dtp, peer):
        await asyncio.get_running_loop().sock_sendall(peer, ZOS[:6])
        async with receive_records(dtp, parameters=BLOCK) as records:
            assert await anext(records) == b"\xc1\xc2\xc3"

        assert records.result is not None
        assert records.result.end is End.ABORTED
        with pytest.raises(ConnectionResetError):
            await receive_all(peer)


async def test_several_files_on_one_connection() -> None:
    """MODE B keeps a `ReusableConnection` open, both ways (RFC 959 §3.3)."""

    files = [[b"one", b""], [], [b"x" * 70_000]]
    async with (
        dtp_pair() as (here, there),
        ReusableConnection(here) as sender,
        ReusableConnection(there) as receiver,
    ):

        async def receive() -> list[bytes]:
            async with receive_records(receiver, parameters=BLOCK) as records:
                return [record async for record in records]

        for file in files:
            sending = send_records(sender, file, parameters=BLOCK)
            _, found = await asyncio.gather(sending, receive())
            assert found == file


async def test_a_file_and_its_records_are_the_same_on_the_connection() -> None:
    """What is sent as records with STRU R is received as a file of lines."""

    class Target:
        data = b""

        async def write(self, data: bytes) -> None:
            """Take data."""

            self.data += data

        async def commit(self) -> None:
            """Publish."""

        async def discard(self) -> None:
            """Forget."""

    target = Target()
    parameters = attrs.evolve(BLOCK, structure=STREAM.structure).with_type("A")
    async with dtp_pair() as (here, there):
        await asyncio.gather(
            send_records(here, [b"one", b"", b"two"], parameters=parameters),
            receive_file(there, target, parameters=parameters),
        )
    assert target.data == b"one\n\ntwo\n"


@keeping
@pytest.mark.parametrize("is_async", [False, True])
async def test_records_that_fail_cut_the_transfer(
    parameters: TransferParameters, is_async: bool
) -> None:
    """The peer gets no end of file, and a generator is closed."""

    closed = []

    def failing() -> Iterator[bytes]:
        try:
            yield b"one"
            raise ValueError("no more")
        finally:
            closed.append(True)

    async def failing_later() -> AsyncIterator[bytes]:
        for record in failing():
            yield record

    async with connection() as (dtp, peer):
        with pytest.raises(FTPDataError, match="no more") as caught:
            await send_records(
                dtp, failing_later() if is_async else failing(), parameters=parameters
            )
        assert caught.value.reply_code == 451
        with contextlib.suppress(ConnectionResetError):
            assert not (await receive_all(peer)).endswith((b"\x40\x00\x00", b"\xff\x02"))

    assert closed == [True]


@pytest.mark.parametrize("records", [b"one", "one", 5, None])
async def test_what_is_not_an_iterable_of_records_is_refused(records: object) -> None:
    """Bytes would be an iterable of numbers."""

    async with connection() as (dtp, _):
        with pytest.raises(TypeError, match="an iterable of records"):
            await send_records(dtp, records, parameters=BLOCK)  # type: ignore[arg-type]


async def test_parameters_that_keep_no_boundaries_are_refused() -> None:
    """Before anything is moved."""

    async with connection() as (dtp, _):
        with pytest.raises(UnsupportedParameter, match="records need MODE B"):
            await send_records(dtp, [b"x"], parameters=TransferParameters())

    async with connection() as (dtp, _):
        with pytest.raises(UnsupportedParameter, match="records need MODE B"):
            receive_records(dtp, parameters=TransferParameters())
