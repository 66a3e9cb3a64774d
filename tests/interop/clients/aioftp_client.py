"""The client of aioftp."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Literal

import aioftp

from tests.interop.clients.base import PATIENCE, Client
from tests.interop.served import Site
from tests.interop.ways import Abort, Capability, Get, Listing, Protection, Put, Step, Way

__all__ = ["Aioftp"]


class _Client(aioftp.Client):
    """Records its connections, since it does not wait until they are closed, as TLS requires."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.streams: list[Any] = []

    async def get_stream(  # type: ignore[override] # as `await` uses it
        self, *arguments: Any, **options: Any
    ) -> Any:
        stream = await super().get_stream(*arguments, **options)
        self.streams.append(stream)
        return stream


class Aioftp(Client):
    """The library, in this process; its encoding is latin-1, which preserves bytes."""

    name = "aioftp"
    ways = frozenset({Way.PASV_4, Way.EPSV_4, Way.EPSV_6})
    cannot: ClassVar = {Capability.NLST: "it has no NLST"}
    strips = frozenset({"LIST"})
    ascii_is_raw = True
    protections: ClassVar = dict.fromkeys(Protection, True)

    def _find_version(self) -> str:
        return importlib.metadata.version("aioftp")

    def _do(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]:
        return asyncio.run(self._run(site, steps))

    async def _run(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]:
        listings = []
        client = _Client(
            encoding="latin-1",
            passive_commands=(site.way.command.lower(),),
            ssl=site.context if site.protection is Protection.IMPLICIT else None,
        )
        async with asyncio.timeout(PATIENCE), self._session(client, site):
            for step in steps:
                if isinstance(step, Listing):
                    listings.append(await self._list(client, step))
                else:
                    await self._transfer(client, step)

        return listings

    @contextlib.asynccontextmanager
    async def _session(self, client: _Client, site: Site) -> AsyncIterator[None]:
        try:
            await client.connect(site.host, site.port)
            if site.protection is Protection.IMPLICIT:
                await client.command("PBSZ 0", "200")
                await client.command("PROT P", "200")
            elif site.protection is not None:
                await client.upgrade_to_tls(site.context)
            await client.login(site.user, site.password)
            yield
            await client.quit()
        finally:
            client.close()
            for stream in (client.stream, *client.streams):
                with contextlib.suppress(OSError):
                    await stream.writer.wait_closed()

    async def _transfer(self, client: aioftp.Client, step: Get | Put | Abort) -> None:
        remote = step.remote.decode("latin-1")
        kind: Literal["A", "I"] = "A" if not isinstance(step, Abort) and step.ascii else "I"
        match step:
            case Get():
                stream = await client.get_stream(
                    f"RETR {remote}", "1xx", conn_type=kind, offset=step.offset
                )
                async with stream:
                    with step.local.open("ab" if step.offset else "wb") as file:
                        async for block in stream.iter_by_block():
                            file.write(block)
            case Put():
                stream = await client.get_stream(
                    f"STOR {remote}", "1xx", conn_type=kind, offset=step.offset
                )
                async with stream:
                    await stream.write(step.local.read_bytes()[step.offset :])
            case Abort():
                stream = await client.get_stream(f"RETR {remote}", "1xx")
                await stream.read(1)
                await client.abort()
                stream.close()

    async def _list(self, client: aioftp.Client, step: Listing) -> list[bytes]:
        path = step.remote.decode("latin-1")
        command: Literal["LIST", "MLSD"] = "LIST" if step.command == "LIST" else "MLSD"
        return [
            entry.name.encode("latin-1")
            async for entry, _ in client.list(path, raw_command=command)
        ]
