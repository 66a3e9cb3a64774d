"""How data connections are opened: the commands, their arguments, and either order."""

from __future__ import annotations

import asyncio
import contextlib
import re

from ..client import Failure, Reply, ScriptedClient, ScriptedStream
from ._asking import UNKNOWN
from ._frame import Trial, check
from ._steps import (
    Listener,
    drain,
    final_reply,
    happens_soon,
    in_step,
    is_open,
    large_file,
    listing_works,
    passive_ports,
    running,
    secured,
    small_file,
)

__all__ = [
    "active_connection_by_eprt",
    "active_connection_by_port",
    "commands_between_passive_and_connection",
    "connection_a_while_after_the_command",
    "connection_after_the_command",
    "connection_before_the_command",
    "data_connection_ended_before_the_command",
    "epsv_all",
    "epsv_and_its_arguments",
    "first_reply_before_the_connection",
    "malformed_eprt",
    "malformed_port",
    "new_passive_port_replaces_the_old_one",
    "newest_data_connection_is_used",
    "pasv_address",
    "second_transfer_without_a_new_connection",
]


async def _source(trial: Trial, client: ScriptedClient) -> tuple[str, bytes | None]:
    """Return a command that sends something, and what, if that is known."""

    if trial.directory is None:
        return "LIST", None
    name, content = await small_file(trial, client)
    return f"RETR {name}", content


def _check_content(content: bytes, expected: bytes | None) -> None:
    if expected is not None and content != expected:
        raise Failure(f"{len(content)} bytes came that are not the {len(expected)} of the file")


async def _finish(
    client: ScriptedClient, data: ScriptedStream, expected: bytes | None
) -> None:
    """Read to the end, the final reply included."""

    content = await data.receive_all()
    await client.leave(data)
    data.close()
    await client.expect_reply(2)
    _check_content(content, expected)
    await in_step(client)


# Either order


@check("RFC 959 §4.1.2 (PASV), §3.2")
async def connection_before_the_command(trial: Trial) -> None:
    """A client that connects first, and then sends the command, is served."""

    async with trial.client() as client:
        line, expected = await _source(trial, client)
        _, data = await client.begin(line)
        async with data:
            await _finish(client, data, expected)


async def _command_first(trial: Trial, seconds: float) -> None:
    async with trial.client() as client:
        line, expected = await _source(trial, client)
        port = await client.passive_port()
        await client.send(line)
        async with running(client.reply()) as first:
            # A reply that refuses comes at once; one that waits for the connection does not.
            await happens_soon(first, seconds)
            if first.done():
                client.check(first.result(), 125, 150)
                await asyncio.sleep(seconds)
            try:
                connected = await client.connect(port)
            except OSError as error:
                trial.fail(f"{seconds:g} s after the command the port is closed: {error}")
            async with connected as data, secured(client, data) as handshake:
                client.check(await first, 125, 150)
                await handshake
                await _finish(client, data, expected)


@check("RFC 959 §5.4 (150: about to open data connection); Twisted #4819 deadlocks")
async def connection_after_the_command(trial: Trial) -> None:
    """A client that sends the command first, and then connects, is served."""

    await _command_first(trial, 0.05)


@check("RFC 959 §4.1.2 (PASV); aioftp waits for one second")
async def connection_a_while_after_the_command(trial: Trial) -> None:
    """A client that connects more than a second after its command is served."""

    await _command_first(trial, 1.3)


@check("RFC 959 §5.4 (150: about to open data connection); ftpserverlib, ftp-srv #302")
async def first_reply_before_the_connection(trial: Trial) -> None:
    """A client that awaits the 150 before it connects gets it."""

    async with trial.client() as client:
        line, expected = await _source(trial, client)
        port = await client.passive_port()
        await client.send(line)
        async with running(client.reply()) as first:
            if not await happens_soon(first):
                trial.warn("150 comes only after the connection: a client that awaits it stalls")
            async with await client.connect(port) as data, secured(client, data) as handshake:
                client.check(await first, 125, 150)
                await handshake
                await _finish(client, data, expected)


@check("RFC 959 §5.4; Twisted pauses the control connection until the client connects")
async def commands_between_passive_and_connection(trial: Trial) -> None:
    """The control connection is not blocked between PASV or EPSV and the connection."""

    async with trial.client() as client:
        line, expected = await _source(trial, client)
        port = await client.passive_port()
        await in_step(client)
        await client.expect("TYPE I", 2)
        async with await client.connect(port) as data:
            await in_step(client)
            await client.begin(line, data)
            await _finish(client, data, expected)


@check("RFC 959 §5.4 (425, 426); pyftpdlib: 150, and then nothing")
async def data_connection_ended_before_the_command(trial: Trial) -> None:
    """A download whose data connection has broken before the command is refused or cut, once."""

    async with trial.client() as client:
        name, content = await large_file(trial, client)
        for how in ("closed", "reset"):
            data = await client.passive()
            if how == "closed":
                data.close()
            else:
                data.reset()
            await client.send(f"RETR {name}")
            reply = await final_reply(client)
            trial.require(
                reply.kind in (4, 5),
                f"the data connection was {how} before RETR of {len(content)} bytes, "
                f"and the answer was '{reply}'",
            )
            await listing_works(client)


@check("RFC 959 §5.4 (425), §3.2; pyftpdlib: 150, and then nothing")
async def second_transfer_without_a_new_connection(trial: Trial) -> None:
    """A second transfer without PASV or PORT is refused, or goes over the same port again."""

    async with trial.client() as client:
        port = await client.passive_port()
        _, data = await client.begin("LIST", await client.connect(port))
        async with data:
            await data.receive_all()
            await client.leave(data)
        await client.expect_reply(2)

        # The server may also connect to the port of our control connection (RFC 959 §3.2),
        # where nobody listens.
        await client.send("LIST")
        async with running(final_reply(client)) as final:
            if not await happens_soon(final):
                with contextlib.suppress(OSError):
                    async with await client.connect(port) as data:
                        await client.secure(data)
                        await drain(data)
                        await client.leave(data)
                    client.check(await final, 2)
                    await in_step(client)
                    return
            reply = await final
        trial.require(
            reply.kind in (4, 5), f"LIST without a data connection was answered by '{reply}'"
        )
        await listing_works(client)


# One passive port at a time


@check("RFC 2577 §8; libunftp #439: each PASV opens one more")
async def new_passive_port_replaces_the_old_one(trial: Trial) -> None:
    """A new PASV or EPSV closes the port of the one before."""

    async with trial.client() as client:
        line, expected = await _source(trial, client)
        old, new = await passive_ports(client, 2)
        if old != new:
            try:
                async with await client.connect(old) as data:
                    # A pool keeps its ports bound, and refuses who is not expected there.
                    if await is_open(data):
                        trial.fail("the port of the PASV before is still open")
            except OSError:
                pass
        async with await client.connect(new) as data:
            await client.begin(line, data)
            await _finish(client, data, expected)


@check("RFC 959 §3.3: one data connection; Twisted leaves the old one open")
async def newest_data_connection_is_used(trial: Trial) -> None:
    """A transfer goes over the connection of the newest PASV or EPSV; the old one is closed."""

    async with trial.client() as client:
        line, expected = await _source(trial, client)
        async with await client.passive() as old, await client.passive() as data:
            await client.begin(line, data)
            await _finish(client, data, expected)
            if await is_open(old):
                trial.warn("the connection to the port of the PASV before stays open")


# PASV and EPSV


@check("RFC 959 §4.1.2, RFC 1123 §4.1.2.6; aioftp on all addresses: 0,0,0,0")
async def pasv_address(trial: Trial) -> None:
    """PASV tells the address that the client is connected to; on IPv6 it is refused."""

    async with trial.client() as client:
        line, expected = await _source(trial, client)
        reply = await client.command("PASV")
        if ":" in client.host and reply.kind != 2:
            client.check(reply, 4, 5)
            await listing_works(client)
            return
        if reply.code in UNKNOWN:
            trial.not_offered("the server has no PASV")
        client.check(reply, 227)
        found = re.search(r"(?<!\d)(\d{1,3}(?:,\d{1,3}){5})(?!\d)", reply.text)
        trial.require(found, f"no address in '{reply}'")
        assert found is not None
        numbers = [int(number) for number in found[1].split(",")]
        trial.require(max(numbers) < 256, f"no address in '{reply}'")
        address = ".".join(str(number) for number in numbers[:4])
        port = numbers[4] << 8 | numbers[5]
        trial.require(numbers[0], f"PASV tells {address}, to which nobody can connect")
        if address != client.host:
            trial.warn(
                f"PASV tells {address}, and the control connection is to {client.host}; "
                "most clients do not follow"
            )
        async with await client.connect(port) as data:
            await client.begin(line, data)
            await _finish(client, data, expected)


@check("RFC 2428 §3; aioftp ends the session, pure-ftpd takes any argument")
async def epsv_and_its_arguments(trial: Trial) -> None:
    """EPSV tells a port with 229, EPSV 1 or 2 does so for the family, all others are 5yz."""

    async with trial.client() as client:
        reply = await client.command("EPSV")
        if reply.code in UNKNOWN:
            trial.not_offered("the server has no EPSV")
        client.check(reply, 229)
        await _use(client, reply)

        own, other = ("2", "1") if ":" in client.host else ("1", "2")
        # "If the requested protocol is not supported by the server, it MUST return … 522."
        reply = await client.expect(f"EPSV {own}", 229, 5)
        if reply.code == 229:
            await _use(client, reply)
        else:
            trial.warn(f"EPSV {own} was answered by '{reply}' over that very protocol")
        await client.expect(f"EPSV {other}", 229, 5)
        await client.expect("EPSV 3", 5)
        await client.expect("EPSV x", 5)
        await listing_works(client)


async def _use(client: ScriptedClient, reply: Reply) -> None:
    found = re.search(r"\(([!-~])\1\1(\d{1,5})\1\)", reply.text)
    if not found:
        raise Failure(f"no port in the form of RFC 2428 §3 in '{reply}'")
    async with await client.connect(int(found[2])) as data:
        await client.begin("LIST", data)
        await data.receive_all()
        await client.leave(data)
    await client.expect_reply(2)


@check("RFC 2428 §3: MUST reject all others; vsftpd obeys EPRT, pure-ftpd PASV")
async def epsv_all(trial: Trial) -> None:
    """After EPSV ALL, PASV, PORT and EPRT are refused, and EPSV works."""

    async with trial.client() as client:
        if (await client.command("EPSV")).code in UNKNOWN:
            trial.not_offered("the server has no EPSV")
        reply = await client.command("EPSV ALL")
        if reply.kind != 2:
            client.check(reply, 5)
            trial.warn(f"EPSV ALL was answered by '{reply}'")
            await listing_works(client)
            return

        async with Listener.opened(client) as listener:
            if ":" not in client.host:
                await client.expect("PASV", 5)
                await client.expect(listener.port_command, 5)
            await client.expect(listener.eprt_command, 5)
            trial.require(not listener.was_connected_to(), "EPRT after EPSV ALL was obeyed")
        await listing_works(client)


# PORT and EPRT


async def _active(trial: Trial, client: ScriptedClient, listener: Listener, line: str) -> None:
    """Transfer over a connection that the server opens where PORT or EPRT has told it to."""

    transfer, expected = await _source(trial, client)
    reply = await client.command(line)
    if reply.kind == 5 and (line[:4] != "PORT" or reply.code not in UNKNOWN):
        trial.not_offered(f"the server refuses {line[:4]}: '{reply}'")
    client.check(reply, 2)
    async with running(listener.accept()) as accepted:
        await in_step(client)
        if accepted.done():
            trial.warn(f"the server connects after {line[:4]}, before there is a transfer")

        await client.send(transfer)
        async with running(client.reply()) as first:
            await asyncio.wait({first, accepted}, return_when=asyncio.FIRST_COMPLETED)
            if first.done():
                client.check(first.result(), 125, 150)
            async with await accepted as data, secured(client, data) as handshake:
                client.check(await first, 125, 150)
                await handshake
                peer = data.socket.getpeername()[0]
                if peer != client.host:
                    trial.warn(f"the connection came from {peer}, not from {client.host}")
                await _finish(client, data, expected)


@check("RFC 959 §5.1 (the minimum), §3.2; libunftp and pyftpdlib connect at once")
async def active_connection_by_port(trial: Trial) -> None:
    """After PORT the server connects to the client, when the transfer command comes."""

    async with trial.client() as client:
        if ":" in client.host:
            trial.not_offered("PORT is for IPv4")
        async with Listener.opened(client) as listener:
            await _active(trial, client, listener, listener.port_command)


@check("RFC 2428 §2")
async def active_connection_by_eprt(trial: Trial) -> None:
    """After EPRT the server connects to the client, when the transfer command comes."""

    async with trial.client() as client, Listener.opened(client) as listener:
        await _active(trial, client, listener, listener.eprt_command)


@check("RFC 959 §5.4 (501); Twisted: 550 internal error, and ports above 65535 accepted")
async def malformed_port(trial: Trial) -> None:
    """PORT with an argument that is no address is 5yz, and the session goes on."""

    async with trial.client() as client, Listener.opened(client) as listener:
        host = listener.address.replace(".", ",")
        if ":" in host:
            trial.not_offered("PORT is for IPv4")
        if (await client.command(listener.port_command)).kind != 2:
            trial.not_offered("the server refuses PORT")
        for argument in ("", " x", " 1,2,3", f" {host},200", f" {host},256,1", f" {host},1,x",
                         f" {host},-1,1", f" {host.replace(',', '.')},200,1"):
            await client.expect(f"PORT{argument}", 5)
        await listing_works(client)


@check("RFC 2428 §2 (501, 522); proftpd, Twisted: ports above 65535 accepted")
async def malformed_eprt(trial: Trial) -> None:
    """EPRT with an argument that is no address is 5yz, and the session goes on."""

    async with trial.client() as client, Listener.opened(client) as listener:
        if (await client.command(listener.eprt_command)).kind != 2:
            trial.not_offered("the server refuses EPRT")
        family, host = listener.eprt_command.split("|")[1:3]
        for argument in ("", " x", " ||", " ||||", f" |{family}|{host}|99999|",
                         f" |{family}|x|5000|", f" |{family}|{host}|x|", f" |3|{host}|5000|",
                         f" |{family}|{host}|-5000|", f" |{family}|{host}"):
            await client.expect(f"EPRT{argument}", 5)
        await listing_works(client)
