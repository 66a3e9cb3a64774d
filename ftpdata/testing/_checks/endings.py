"""How transfers end: cut, slow, late; and what the control connection does meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time

from ..client import Failure, ScriptedClient, ScriptedStream
from ._asking import UNKNOWN
from ._frame import Trial, check
from ._steps import (
    MOMENT,
    SMALL_BUFFER,
    drain,
    end_upload,
    final_replies,
    happens_soon,
    in_step,
    large_file,
    listing_works,
    running,
    small_file,
)

__all__ = [
    "client_that_never_reads",
    "client_that_reads_slowly",
    "control_connection_that_ends_in_a_download",
    "control_connection_that_ends_in_an_upload",
    "download_that_is_closed_early",
    "download_that_is_reset",
    "half_closed_download",
    "noop_during_a_transfer",
    "quit_during_a_download",
    "reply_after_a_download",
    "reply_after_an_upload",
    "reply_with_the_data_connection_open",
    "status_during_a_transfer",
]

_UNREAD = 20.0
"""Seconds for which a slow check reads nothing."""


async def _slow_download(
    client: ScriptedClient, name: str
) -> tuple[ScriptedStream, bytes]:
    """Begin a download with a small buffer; return it, and what came first."""

    _, data = await client.begin(f"RETR {name}", await client.passive(receive_buffer=SMALL_BUFFER))
    try:
        begun = await data.receive()
    except BaseException:
        data.close()
        raise
    return data, begun


# The client cuts


async def _cut_download(trial: Trial, how: str) -> None:
    async with trial.client() as client:
        name, _ = await large_file(trial, client)
        data, _ = await _slow_download(client, name)
        if how == "reset":
            data.reset()
        else:
            data.close()
        reply = client.check(await client.reply(), 4, 5)
        trial.note_delay(reply.seconds, "the reply")
        await listing_works(client)


@check("RFC 959 §5.4 (426); Twisted leaves the reason out")
async def download_that_is_reset(trial: Trial) -> None:
    """A download that the client resets is 426 or 451, and the session goes on."""

    await _cut_download(trial, "reset")


@check("RFC 959 §5.4 (426)")
async def download_that_is_closed_early(trial: Trial) -> None:
    """A download whose client closes in the middle is 426 or 451, and the session goes on."""

    await _cut_download(trial, "closed")


@check("RFC 793 §3.5 (half-closed connections); PHP and netcat send FIN first")
async def half_closed_download(trial: Trial) -> None:
    """A client that has sent its FIN, and reads on, gets the whole file, or no 2yz."""

    async with trial.client() as client:
        name, content = await large_file(trial, client)
        _, data = await client.begin(f"RETR {name}")
        async with data:
            if data.tls is None:
                data.fin()
            else:
                await data.end()
            drained = await drain(data)
        reply = await client.reply()
        if reply.kind == 2:
            trial.require(
                drained.content == content,
                f"{len(drained.content)} of {len(content)} bytes came, and '{reply}'",
            )
        else:
            client.check(reply, 4, 5)
            # TLS 1.2 has no half-closed connections (RFC 5246 §7.2.1).
            if data.tls is None:
                trial.warn(f"the server takes a FIN for the end of the download: '{reply}'")
        await listing_works(client)


# Slow clients


@check("RFC 959 §5.4 (226); Twisted says 226 before the data are sent")
async def client_that_reads_slowly(trial: Trial) -> None:
    """A client that reads slowly gets every byte, and 226 does not come while it lags."""

    async with trial.client() as client:
        name, content = await large_file(trial, client)
        data, begun = await _slow_download(client, name)
        async with data:
            received = bytearray(begun)
            async with running(client.reply()) as final:
                for _ in range(10):
                    received += await data.receive_exactly(3000)
                    if await happens_soon(final, 0.03):
                        trial.fail(
                            f"'{final.result()}' after {len(received)} of {len(content)} bytes"
                        )
                received += await data.receive_all()
                await client.leave(data)
                data.close()
                client.check(await final, 2)
        trial.require(
            bytes(received) == content,
            f"{len(received)} bytes came that are not the {len(content)} of the file",
        )
        await in_step(client)


@check("RFC 959 §5.4 (426); slow readers hold servers that wait for each", is_slow=True)
async def client_that_never_reads(trial: Trial) -> None:
    """A client that reads nothing for a while keeps no other waiting, and gets all, or no 2yz."""

    async with trial.client() as client:
        name, content = await large_file(trial, client)
        data, begun = await _slow_download(client, name)
        client.stream.patience += _UNREAD + MOMENT
        async with data, running(client.reply()) as final:
            ends = time.monotonic() + _UNREAD
            while time.monotonic() < ends and not final.done():
                async with trial.client() as other:
                    began = time.monotonic()
                    await listing_works(other)
                    trial.note_delay(time.monotonic() - began, "another's listing")
                await happens_soon(final, MOMENT)
            if final.done():
                client.check(final.result(), 4, 5)
            rest = await drain(data)
            data.close()
            reply = await final
            if reply.kind == 2:
                received = begun + rest.content
                trial.require(
                    received == content,
                    f"{len(received)} of {len(content)} bytes came, and '{reply}'",
                )
        if reply.code != 421:
            await listing_works(client)


# Replies in time


@check("RFC 959 §5.4 (226)")
async def reply_after_a_download(trial: Trial) -> None:
    """The final reply of a download comes when the client has closed its data connection."""

    async with trial.client() as client:
        name, content = await small_file(trial, client)
        for line in (f"RETR {name}", "LIST"):
            _, data = await client.begin(line)
            async with data:
                received = await data.receive_all()
                await client.leave(data)
            began = time.monotonic()
            await client.expect_reply(2)
            trial.note_delay(time.monotonic() - began, f"the reply to {line[:4]}")
            trial.require(line == "LIST" or received == content, "what came is not the file")
        await in_step(client)


@check("RFC 959 §5.4 (226); proftpd waits ten seconds for the client to close")
async def reply_with_the_data_connection_open(trial: Trial) -> None:
    """A client that closes its data connection only after the 226 does not wait for that."""

    async with trial.client() as client:
        name, _ = await small_file(trial, client)
        for line in (f"RETR {name}", "LIST"):
            _, data = await client.begin(line)
            async with data, running(client.reply()) as final:
                await data.receive_all()
                await client.leave(data)
                if not await happens_soon(final, trial.server.late):
                    trial.warn(f"the reply to {line[:4]} comes only after the client's close")
                    data.close()
                client.check(await final, 2)
        await in_step(client)


@check("RFC 959 §5.4 (226)")
async def reply_after_an_upload(trial: Trial) -> None:
    """The final reply of an upload comes when the client has sent the end of file."""

    async with trial.client() as client:
        trial.writable()
        name = trial.new_name()
        for content in (b"content", b""):
            _, data = await client.begin(f"STOR {name}")
            async with data:
                await data.send(content)
                await end_upload(data)
                began = time.monotonic()
                client.check(await client.reply(), 2)
                trial.note_delay(time.monotonic() - began, "the reply to STOR")
            stored = await trial.content(client, name)
            trial.require(
                stored == content, f"{len(content)} bytes were sent, and {stored!r} is there"
            )
        await in_step(client)


# The control connection meanwhile


async def _during_a_download(trial: Trial, line: str, *codes: int) -> None:
    """Say something while a download runs that nobody reads; then read it."""

    async with trial.client() as client:
        reply = await client.command(line)
        if reply.code in UNKNOWN:
            trial.not_offered(f"the server has no {line}")
        client.check(reply, *codes)
        name, content = await large_file(trial, client)
        data, begun = await _slow_download(client, name)
        async with data:
            await client.send(line)
            async with running(final_replies(client, 2)) as replies:
                await happens_soon(replies, 0.1)
                rest = await drain(data)
                await client.leave(data)
                data.close()
                first, second = await replies
        received = begun + rest.content
        trial.require(
            received == content,
            f"{len(received)} bytes came that are not the {len(content)} of the file",
        )
        # The server may answer at once, or after the transfer, and may say that it is busy.
        transfer, answer = (first, second) if first.code in (226, 250) else (second, first)
        client.check(transfer, 226, 250)
        client.check(answer, *codes, 4)
        await listing_works(client)


@check("RFC 959 §4.1.3 (STAT during a transfer)")
async def status_during_a_transfer(trial: Trial) -> None:
    """STAT during a transfer is answered during it, or after it, and disturbs nothing."""

    await _during_a_download(trial, "STAT", 211, 212, 213)


@check("RFC 959 §4.1.3; clients keep firewalls open so")
async def noop_during_a_transfer(trial: Trial) -> None:
    """NOOP during a transfer is answered during it, or after it, and disturbs nothing."""

    await _during_a_download(trial, "NOOP", 200)


@check("RFC 959 §4.1.1 (QUIT); pyftpdlib #119")
async def quit_during_a_download(trial: Trial) -> None:
    """QUIT during a download lets it end, is then 221, and closes the control connection."""

    async with trial.client() as client:
        name, content = await large_file(trial, client)
        data, begun = await _slow_download(client, name)
        async with data:
            await client.send("QUIT")
            async with running(final_replies(client, 2)) as replies:
                await happens_soon(replies, 0.1)
                rest = await drain(data)
                await client.leave(data)
                data.close()
                received = begun + rest.content
                trial.require(
                    received == content,
                    f"QUIT cut the download after {len(received)} of {len(content)} bytes",
                )
                codes = {reply.code for reply in await replies}
        trial.require(
            221 in codes and codes & {226, 250},
            f"the replies were {' and '.join(map(str, sorted(codes)))}, not 226 and 221",
        )
        with contextlib.suppress(Failure, OSError):
            trial.fail(f"after QUIT came '{await client.reply()}'")


async def _end_control(client: ScriptedClient, how: str) -> None:
    if how == "reset":
        client.stream.reset()
    else:
        client.close()


@check("RFC 959 §4.1.1: the action of ABOR and QUIT; pyftpdlib #311, #655, Twisted")
async def control_connection_that_ends_in_an_upload(trial: Trial) -> None:
    """An upload whose control connection ends is cut, or goes on to its end; no third way."""

    for how in ("closed", "reset"):
        name = trial.new_name()
        async with trial.client() as client:
            trial.writable()
            _, data = await client.begin(f"STOR {name}")
            async with data:
                await data.send(b"first half, ")
                await _end_control(client, how)
                await asyncio.sleep(MOMENT / 4)
                try:
                    await data.send(b"second half")
                    await end_upload(data)
                    is_cut = (await drain(data)).end == "broken"
                except OSError:
                    is_cut = True
        async with trial.client() as client:
            whole = b"first half, second half"
            stored = await _settled(trial, client, name, whole)
            if stored is None or stored == whole:
                continue
            what = f"the control connection was {how}, and {len(stored)} of {len(whole)} bytes"
            trial.require(is_cut, f"{what} are there, of an upload that ended cleanly")
            trial.warn(f"{what} have the name of the whole")


async def _settled(
    trial: Trial, client: ScriptedClient, name: str, whole: bytes
) -> bytes | None:
    """Return what is stored, once it is whole, or after a second."""

    for _ in range(20):
        stored = await trial.content(client, name)
        if stored == whole:
            break
        await asyncio.sleep(0.05)
    return stored


@check("RFC 959 §4.1.1: the action of ABOR and QUIT; Twisted stops listening, and sends on")
async def control_connection_that_ends_in_a_download(trial: Trial) -> None:
    """A download whose control connection ends is cut, or goes on to its end; it never hangs."""

    for how in ("closed", "reset"):
        async with trial.client() as client:
            name, content = await large_file(trial, client)
            data, begun = await _slow_download(client, name)
            async with data:
                await _end_control(client, how)
                await asyncio.sleep(MOMENT / 4)
                rest = await drain(data)
        received = begun + rest.content
        if received != content and rest.end == "clean":
            trial.require(
                content.startswith(received), f"{len(received)} bytes came that are not the file"
            )
            trial.warn(
                f"the control connection was {how}, and the download ended after {len(received)} "
                f"of {len(content)} bytes as if that was all"
            )
