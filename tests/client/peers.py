"""Servers for the tests of the example client: a good one, and sessions that misbehave."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs

from examples.client.client import Client, Security, Server, Transfer
from tests.harness.tls import authority_file, certificate_files
from tests.testing.scripted_server import PASSWORD, USER, Session, scripted_server

__all__ = ["Session", "connected", "final", "lacking", "serving"]


@contextlib.asynccontextmanager
async def serving(
    root: Path,
    session: type[Session] = Session,
    *,
    security: Security = Security.CLEAR,
    **options: Any,
) -> AsyncIterator[Server]:
    """Run a scripted server; yield where it is, and who may log in there."""

    certificate = None if security is Security.CLEAR else certificate_files()
    is_implicit = security is Security.IMPLICIT
    async with scripted_server(
        root, session, certificate=certificate, is_implicit=is_implicit
    ) as server:
        where = Server(
            server.host,
            port=server.port,
            user=USER,
            password=PASSWORD,
            security=security,
            ca_file=str(authority_file()),
        )
        yield attrs.evolve(where, **options)


@contextlib.asynccontextmanager
async def connected(
    root: Path, session: type[Session] = Session, **options: Any
) -> AsyncIterator[Client]:
    """Run a scripted server, and log in there (see `serving`)."""

    async with serving(root, session, **options) as server, await Client.connect(server) as client:
        yield client


async def fail_with_a_connection(transfer: Transfer) -> None:
    """Raise a LookupError once the data connection is there."""

    await transfer.endpoint.open(keep=True)
    raise LookupError


def lacking(*verbs: str, features: tuple[str, ...] = ()) -> type[Session]:
    """Make a session that does not have some commands, and tells of few features."""

    async def missing(self: Session, argument: str) -> None:
        await self.reply("502 Not implemented.")

    methods: dict[str, object] = {f"do_{verb.lower()}": missing for verb in verbs}
    return type("Lacking", (Session,), {**methods, "features": features})


def final(verb: str, answer: Callable[[Session], str | None]) -> type[Session]:
    """Make a session that says something else at the end of a transfer, or closes with no word.

    Args:
        verb: The command of the transfer.
        answer: Returns the final reply; None closes the control connection.
    """

    class Ending(Session):
        async def reply(self, *lines: str) -> None:
            if lines[0].startswith("226") and self.said.startswith(verb):
                text = answer(self)
                if text is None:
                    self.link.sock.shutdown(socket.SHUT_RDWR)
                    return
                lines = (text,)
            await super().reply(*lines)

        async def carry_out(self, line: str) -> None:
            self.said = line
            await super().carry_out(line)

    return Ending
