"""Who gets a data connection: theft, bounce, ports that can be guessed, ports that leak."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator

from ..client import Failure, ScriptedClient, ScriptedStream
from ._frame import Trial, check
from ._steps import (
    MOMENT,
    Listener,
    end_upload,
    final_reply,
    happens_soon,
    in_step,
    is_open,
    listing_works,
    passive_ports,
    running,
    small_file,
)

__all__ = [
    "bounce",
    "bounce_to_low_ports",
    "nobody_connects",
    "passive_and_quit",
    "passive_ports_are_given_back",
    "passive_ports_are_not_used_up",
    "passive_ports_cannot_be_guessed",
    "stranger_gets_nothing",
    "stranger_stores_nothing",
    "stranger_takes_no_place",
]

_PORTS = 12
"""Passive ports that are looked at, to see whether the next one can be guessed."""

_GIVING_BACK = 2.0
"""Seconds in which a port must be closed after its session has ended, at most."""

_NOBODY = 115.0
"""Seconds in which a server should say that nobody has connected."""


# Theft


async def _thief(trial: Trial, client: ScriptedClient, port: int) -> ScriptedStream | None:
    """Connect to a passive port from another address; None if that is refused at once."""

    try:
        thief = await client.connect(port, source=trial.stranger())
    except OSError:
        return None

    thief.patience = MOMENT
    return thief


async def _disguise(trial: Trial, client: ScriptedClient, thief: ScriptedStream) -> None:
    """Negotiate TLS as a client with no session to resume, if data connections are private."""

    if client.is_private:
        await thief.start_tls(trial.tls_context())


@check("RFC 2577 §8, CVE-1999-0351; proftpd until 1.3.10 (#2272), aioftp, Twisted send it all")
async def stranger_gets_nothing(trial: Trial) -> None:
    """A stranger who connects to a passive port from another address gets no data."""

    async with trial.client() as client:
        name, content = await small_file(trial, client)
        thief = await _thief(trial, client, await client.passive_port())
        if thief is None:
            return

        async with thief:
            await client.send(f"RETR {name}")
            try:
                await _disguise(trial, client, thief)
                loot = await thief.receive()
            except (Failure, OSError):
                loot = b""
            trial.require(
                not loot, f"{len(loot)} of {len(content)} bytes went to another address"
            )


@check("RFC 2577 §8; proftpd until 1.3.10, aioftp, Twisted store what the stranger sends")
async def stranger_stores_nothing(trial: Trial) -> None:
    """What comes from another address to a passive port is not stored."""

    async with trial.client() as client:
        trial.writable()
        name, forged = trial.new_name(), b"forged"
        port = await client.passive_port()
        thief = await _thief(trial, client, port)
        if thief is None:
            return

        async with thief:
            await client.send(f"STOR {name}")
            with contextlib.suppress(Failure, OSError):
                await _disguise(trial, client, thief)
                await thief.send(forged)
                await end_upload(thief)
            async with running(final_reply(client)) as final:
                if await happens_soon(final):
                    client.check(final.result(), 4, 5)
    async with trial.client() as client:
        stored = await trial.content(client, name)
        trial.require(stored != forged, "what another address sent was stored")


@check("RFC 2577 §8; libunftp, ftpserverlib, vsftpd, pyftpdlib: the owner loses the transfer")
async def stranger_takes_no_place(trial: Trial) -> None:
    """A stranger who connects to a passive port does not keep its owner from it."""

    async with trial.client() as client, contextlib.AsyncExitStack() as stranger:
        name, content = await small_file(trial, client)
        port = await client.passive_port()
        if thief := await _thief(trial, client, port):
            stranger.enter_context(contextlib.closing(thief))
        try:
            _, data = await client.begin(f"RETR {name}", await client.connect(port))
            async with data:
                received = await data.receive_all()
                await client.leave(data)
        except OSError as error:
            trial.fail(f"after a stranger has come, the owner's connection breaks: {error}")
        await client.expect_reply(2)
        trial.require(received == content, f"{len(received)} bytes came that are not the file")
        await in_step(client)


# Bounce


async def _is_taken(trial: Trial, line: str) -> bool:
    async with trial.client() as client:
        return (await client.command(line)).kind == 2


async def _bounce(trial: Trial, line: str, listener: Listener | None) -> bool:
    """Say PORT or EPRT and LIST; return whether the first was accepted.

    Raises:
        Failure: The server has connected, or has listed.
    """

    async with trial.client() as client:
        is_accepted = client.check(await client.command(line), 2, 4, 5).kind == 2
        await client.send("LIST")
        async with running(final_reply(client)) as final:
            # A connection in vain takes its time, too.
            await happens_soon(final, MOMENT if is_accepted else MOMENT / 4)
            if listener is not None and listener.was_connected_to():
                raise Failure(f"the server connected to where '{line}' sent it")
            if final.done():
                client.check(final.result(), 4, 5)
    return is_accepted


def _commands(listener: Listener) -> Iterator[str]:
    if ":" not in listener.address:
        yield listener.port_command
    yield listener.eprt_command


@check("RFC 2577 §3, CVE-1999-0017, CERT CA-1997-27; Twisted connects to any address")
async def bounce(trial: Trial) -> None:
    """PORT and EPRT to an address that is not the client's are refused, and nothing connects."""

    address = trial.stranger()
    is_offered = False
    async with trial.client() as client:
        async with Listener.opened(client) as own:
            commands = [await _is_taken(trial, line) for line in _commands(own)]
        async with Listener.opened(client, address=address) as listener:
            for line, is_taken in zip(_commands(listener), commands, strict=True):
                if is_taken:
                    is_offered = True
                    await _bounce(trial, line, listener)
    if not is_offered:
        trial.not_offered("the server makes no connections itself")


@check("RFC 2577 §3 (504); Twisted connects to any port")
async def bounce_to_low_ports(trial: Trial) -> None:
    """PORT and EPRT to a port below 1024 are refused, and nothing connects."""

    async with trial.client() as client:
        async with Listener.opened(client) as own:
            taken = [line[:4] for line in _commands(own) if await _is_taken(trial, line)]
            if not taken:
                trial.not_offered("the server makes no connections itself")
            lines = list(_commands(own))
        for port in range(1023, 1000, -1):
            try:
                async with Listener.opened(client, port=port) as listener:
                    for line in _commands(listener):
                        if line[:4] in taken:
                            await _bounce(trial, line, listener)
                    return
            except PermissionError:
                break
            except OSError:
                continue

        # Not allowed to listen there: only the replies can be seen.
        address = client.stream.local_address[0]
        for line in (f"PORT {address.replace('.', ',')},3,255", f"EPRT |1|{address}|1023|"):
            if line[:4] in taken and len(lines) == 2 and await _bounce(trial, line, None):
                trial.warn(f"'{line}' was accepted")


# Ports


@check("RFC 2577 §8, CVE-2007-6738 (pyftpdlib); aioftp counts")
async def passive_ports_cannot_be_guessed(trial: Trial) -> None:
    """The next passive port does not follow from those before it."""

    async with trial.client() as client:
        ports = await passive_ports(client, _PORTS)
        if len(set(ports)) == 1:
            # A session with one port for all its transfers; others have theirs.
            async with contextlib.AsyncExitStack() as sessions:
                for _ in range(_PORTS - 1):
                    other = await sessions.enter_async_context(trial.client())
                    ports.append(await other.passive_port())
                ports = ports[_PORTS - 1 :]
    if len(set(ports)) < _PORTS // 3:
        trial.not_offered(f"the server uses the ports {sorted(set(ports))} alone")

    steps = [after - before for before, after in itertools.pairwise(ports)]
    step, count = Counter(steps).most_common(1)[0]
    trial.require(
        count < len(steps) * 2 / 3,
        f"{count} of {len(steps)} times the next port was {step:+d} from the one before",
    )


@check("RFC 959 §4.1.1; libunftp leaked them, Twisted closes the listener alone")
async def passive_ports_are_given_back(trial: Trial) -> None:
    """A passive port to which nobody came is closed when its session ends, however it ends."""

    for how in ("QUIT", "a close", "a reset"):
        async with trial.client() as client:
            port = await client.passive_port()
            if how == "QUIT":
                await client.expect("QUIT", 221)
            elif how == "a reset":
                client.stream.reset()
        # A connection from before the server has noticed is closed with the session.
        patience = min(_GIVING_BACK, trial.server.patience)
        with contextlib.suppress(OSError):
            async with await ScriptedStream.connect(trial.server.host, port) as data:
                if await is_open(data, patience):
                    trial.fail(f"{patience:g} s after {how} the passive port is open")


@check("RFC 2577 §8; a pool of ports where one session locks out another of its address")
async def passive_ports_are_not_used_up(trial: Trial) -> None:
    """A session that asks for 30 passive ports, and uses none, keeps no other from its own."""

    async with trial.client() as greedy:
        await passive_ports(greedy, 30)
        async with trial.client() as client:
            await listing_works(client)
        await listing_works(greedy)


@check("RFC 959 §4.1.1 (QUIT); Twisted leaves the data connection open")
async def passive_and_quit(trial: Trial) -> None:
    """QUIT after PASV or EPSV is 221, whether somebody has connected or not, and ends all."""

    async with trial.client() as client:
        await client.passive_port()
        await client.expect("QUIT", 221)
    async with trial.client() as client, await client.passive() as data:
        await client.expect("QUIT", 221)
        if await is_open(data):
            trial.fail("the data connection is open after QUIT")


@check(
    "RFC 959 §5.4 (425); Twisted: 550 unasked; libunftp: 150, and then nothing", is_slow=True
)
async def nobody_connects(trial: Trial) -> None:
    """A transfer to which nobody connects is 425 in time, and before it there is no reply."""

    async with trial.client() as asking, trial.client() as silent:
        asking.stream.patience = _NOBODY
        await silent.passive_port()
        await asking.passive_port()
        await asking.send("LIST")
        async with running(final_reply(asking)) as final:
            if not await happens_soon(final, _NOBODY - MOMENT):
                trial.warn(f"in {_NOBODY:g} s nothing is said of a client that does not connect")
            elif asking.check(await final, 4, 5).code == 421:
                trial.warn(f"the session ends: '{final.result()}'")
            else:
                await listing_works(asking)
        # By now the other one has waited as long.
        await asyncio.sleep(MOMENT)
        reply = await silent.command("NOOP")
        if reply.code == 421:
            trial.warn(f"a session that asked for a port and said nothing ends: '{reply}'")
        else:
            silent.check(reply, 200, 500, 502)
            await listing_works(silent)
