"""ABOR in every phase of a transfer, with and without the signals of Telnet."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
from collections.abc import AsyncIterator

from ..client import Failure, Reply, ScriptedClient, ScriptedStream
from ._asking import UNKNOWN
from ._frame import Protection, Trial, check
from ._steps import (
    LARGE_SIZE,
    SMALL_BUFFER,
    drain,
    end_upload,
    final_replies,
    final_reply,
    happens_soon,
    in_step,
    is_open,
    large_file,
    listing_works,
    read_away,
    running,
    small_file,
)

__all__ = [
    "abort_after_passive",
    "abort_after_the_end",
    "abort_before_the_connection",
    "abort_of_a_download",
    "abort_of_a_listing",
    "abort_of_an_upload",
    "abort_of_nothing",
    "abort_with_telnet_signals",
]

_IP = b"\xff\xf4"
_DM = b"\xff\xf2"


class _Signal(enum.Enum):
    """What comes before ABOR."""

    NONE = "ABOR"
    IN_LINE = "Telnet IP, Synch and ABOR"
    """The bytes of RFC 959 §4.1.3, but not urgent, as over TLS and from many clients."""
    URGENT_IAC = "urgent Telnet IP and ABOR"
    """As BSD's clients have it: the IAC of the Synch is the urgent byte."""
    URGENT_MARK = "Telnet IP, urgent Synch and ABOR"
    """As RFC 854 has it: the data mark is the urgent byte."""


async def _say_abort(client: ScriptedClient, signal: _Signal) -> None:
    if signal is _Signal.NONE:
        await client.send("ABOR")
        return

    if signal is _Signal.IN_LINE:
        await client.send_bytes(_IP + _DM + b"ABOR\r\n", said=signal.value)
    elif signal is _Signal.URGENT_IAC:
        client.stream.socket.send(_IP + _DM[:1], socket.MSG_OOB)
        await client.send_bytes(_DM[1:] + b"ABOR\r\n", said=signal.value)
    else:
        await client.send_bytes(_IP + _DM[:1])
        client.stream.socket.send(_DM[1:], socket.MSG_OOB)
        await client.send_bytes(b"ABOR\r\n", said=signal.value)


def _signals(trial: Trial) -> list[_Signal]:
    """Return the ways to say ABOR; TLS has no urgent data."""

    if trial.server.protection is Protection.CLEAR:
        return list(_Signal)
    return [_Signal.NONE, _Signal.IN_LINE]


@contextlib.asynccontextmanager
async def _aborting(trial: Trial) -> AsyncIterator[ScriptedClient]:
    """Connect a client to a server that has ABOR."""

    async with trial.client() as client:
        reply = await client.command("ABOR")
        if reply.code in UNKNOWN:
            trial.not_offered("the server has no ABOR")
        client.check(reply, 225, 226)
        yield client


def _check_replies(client: ScriptedClient, replies: list[Reply], *, is_over: bool) -> None:
    """Require one final reply for the transfer, then one for ABOR.

    A transfer that may have ended before ABOR came is complete, or cut.
    """

    client.check(replies[0], *((2, 4, 5) if is_over else (4, 5)))
    client.check(replies[1], 225, 226)


@check("RFC 959 §4.1.3, §5.4 (225, 226)")
async def abort_of_nothing(trial: Trial) -> None:
    """ABOR with nothing to abort is 225 or 226."""

    async with _aborting(trial) as client:
        await in_step(client)
        await listing_works(client)
        await client.expect("ABOR", 225, 226)
        await in_step(client)


@check("RFC 959 §4.1.3 (the special action), RFC 854; pipelined by lftp, urgent by BSD's clients")
async def abort_with_telnet_signals(trial: Trial) -> None:
    """ABOR is the same after Telnet's IP and Synch, whether these are urgent data or not."""

    async with _aborting(trial) as client:
        for signal in _signals(trial):
            await _say_abort(client, signal)
            await client.expect_reply(225, 226)
            await in_step(client)
        await listing_works(client)


@check("RFC 959 §4.1.3 (226, and the data connection is closed); Twisted blocks")
async def abort_after_passive(trial: Trial) -> None:
    """ABOR after PASV or EPSV is 225 or 226, and closes a connection that is there."""

    async with _aborting(trial) as client:
        await client.passive_port()
        await client.expect("ABOR", 225, 226)
        await listing_works(client)
        async with await client.passive() as data:
            await client.expect("ABOR", 225, 226)
            if await is_open(data):
                trial.warn("the data connection is open after ABOR")
        await listing_works(client)


@check("RFC 959 §4.1.3 (426, 226); aioftp #205: no reply at all")
async def abort_before_the_connection(trial: Trial) -> None:
    """ABOR of a transfer that waits for its data connection ends it: one reply each."""

    async with _aborting(trial) as client:
        for line in ("LIST", f"STOR {trial.new_name()}" if trial.directory else "NLST"):
            port = await client.passive_port()
            await client.send(line)
            async with running(final_replies(client, 2)) as replies:
                await asyncio.sleep(0.05)
                await client.send("ABOR")
                if not await happens_soon(replies):
                    trial.warn(f"ABOR of {line[:4]} is not heard until the client connects")
                    with contextlib.suppress(Failure, OSError):
                        async with await client.connect(port) as data:
                            await client.secure(data)
                            await end_upload(data)
                            await drain(data)
                _check_replies(client, await replies, is_over=bool(trial.warnings))
            await listing_works(client)
            if trial.warnings:
                break


@check("RFC 959 §4.1.3 (426, 226); ProFTPD's matrix of ABOR, CVE-2020-9273")
async def abort_of_a_download(trial: Trial) -> None:
    """ABOR of a download that runs ends it: 426, then 226, and the data connection is closed."""

    async with _aborting(trial) as client:
        name, _ = await large_file(trial, client)
        for signal in _signals(trial):
            await _abort_download(trial, client, name, signal)
            if trial.warnings:
                break


async def _abort_download(
    trial: Trial, client: ScriptedClient, name: str, signal: _Signal
) -> None:
    _, data = await client.begin(f"RETR {name}", await client.passive(receive_buffer=SMALL_BUFFER))
    async with data:
        begun = await data.receive()
        await _say_abort(client, signal)
        async with running(final_replies(client, 2)) as replies:
            is_heard = await happens_soon(replies)
            rest = await drain(data)
            data.close()
            size = len(begun) + len(rest.content)
            if not is_heard:
                trial.warn(f"{signal.value} is not heard while the client does not read")
            _check_replies(client, await replies, is_over=size == LARGE_SIZE)
    await listing_works(client)


@check("RFC 959 §4.1.3 (426, 226); pyftpdlib #119, proftpd bug 4252: one reply too many")
async def abort_of_an_upload(trial: Trial) -> None:
    """ABOR of an upload that runs ends it: 426, then 226, and the data connection is closed."""

    async with _aborting(trial) as client:
        trial.writable()
        for signal in _signals(trial):
            _, data = await client.begin(f"STOR {trial.new_name()}")
            async with data:
                await data.send(b"half a file")
                await _say_abort(client, signal)
                async with running(final_replies(client, 2)) as replies:
                    is_heard = await happens_soon(replies)
                    if is_heard:
                        _check_replies(client, await replies, is_over=False)
                        await _wait_closed(trial, data)
                    else:
                        trial.warn(f"{signal.value} is not heard before the data have ended")
                        with contextlib.suppress(OSError):
                            await end_upload(data)
                        data.close()
                        _check_replies(client, await replies, is_over=True)
            await listing_works(client)
            if trial.warnings:
                break


async def _wait_closed(trial: Trial, data: ScriptedStream) -> None:
    """Require that the server closes a data connection."""

    try:
        await drain(data)
    except Failure:
        trial.fail("the data connection is open after ABOR")


@check("RFC 959 §4.1.3; proftpd bug 4402: LIST and ABOR at once")
async def abort_of_a_listing(trial: Trial) -> None:
    """LIST and ABOR in one piece get one final reply each, whichever is done first."""

    async with _aborting(trial) as client:
        for line in ("LIST", "NLST", "MLSD"):
            async with await client.passive() as data, running(read_away(client, data)):
                await client.send(line, "ABOR")
                await final_reply(client)
                client.check(await final_reply(client), 225, 226)
            await listing_works(client)


@check("RFC 959 §4.1.3 (226); proftpd bug 4252: one reply too many")
async def abort_after_the_end(trial: Trial) -> None:
    """ABOR right after the end of the data is answered once, after the reply of the transfer."""

    async with _aborting(trial) as client:
        line = "LIST"
        if trial.directory is not None:
            line = f"RETR {(await small_file(trial, client))[0]}"
        for is_closed in (True, False):
            _, data = await client.begin(line)
            async with data:
                await data.receive_all()
                await client.leave(data)
                if is_closed:
                    data.close()
                await client.send("ABOR")
                async with running(final_replies(client, 2)) as replies:
                    if not await happens_soon(replies):
                        trial.warn("the reply comes only after the client's close")
                        data.close()
                    _check_replies(client, await replies, is_over=True)
            await listing_works(client)
