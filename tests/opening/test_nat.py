"""Tests of `ftpdata.opening.nat`: sources of the address, names that change, and warnings."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any

import pytest

from ftpdata.addresses import HostPort
from ftpdata.errors import BadAddress, DataConnectionError, UnsupportedNetworkProtocol
from ftpdata.opening import nat
from ftpdata.opening.advertising import AddressTable
from ftpdata.opening.nat import Advertiser
from ftpdata.outcome import End

BOUND = HostPort("10.0.0.5", 50000)
CLIENT = "10.1.1.1"


class Names:
    """A resolver that the test controls, in place of the event loop's."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.asked: list[tuple[str, int]] = []
        self.hangs = False

    async def resolve(self, name: str, family: int) -> str:
        """Return the address, or fail as the system does."""

        self.asked.append((name, family))
        if self.hangs:
            await asyncio.get_running_loop().create_future()

        await asyncio.sleep(0)
        if name not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")

        return self.addresses[name]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Install a resolver that knows no names."""

    names = Names()
    monkeypatch.setattr(nat, "_ask_resolver", names.resolve)
    return names


async def plain(client: str) -> str:
    """Return the address for a client, after a turn of the event loop."""

    await asyncio.sleep(0)
    return f"203.0.113.{client.rpartition('.')[2]}"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (None, "10.0.0.5"),
        ("203.0.113.9", "203.0.113.9"),
        (AddressTable({"10.1.0.0/16": "203.0.113.8"}), "203.0.113.8"),
        (AddressTable({"10.2.0.0/16": "203.0.113.8"}), "10.0.0.5"),
        (lambda client: "203.0.113.7", "203.0.113.7"),
        (lambda client: None, "10.0.0.5"),
        (plain, "203.0.113.1"),
    ],
)
async def test_every_kind_of_source(source: Any, told: str) -> None:
    """A source is an address, a table, or a callable, which may be async."""

    advertiser = Advertiser(source, exposed_port=-10000)
    answer = await advertiser.advertisement(BOUND, CLIENT)
    assert answer.address == HostPort(told, 40000)
    reply = await advertiser.pasv_reply(BOUND, CLIENT)
    assert reply == f"227 Entering Passive Mode ({told.replace('.', ',')},156,64)."
    assert advertiser.epsv_reply(BOUND) == "229 Entering Extended Passive Mode (|||40000|)"


async def test_the_system_is_asked() -> None:
    """The system's own resolver is asked for a name, here one that every machine knows."""

    told = await Advertiser("localhost").advertisement(HostPort("127.0.0.1", 50000), "127.0.0.1")
    assert told.address.host == "127.0.0.1"
    assert told.warning is None


async def test_only_epsv() -> None:
    """PASV is refused with a hint at EPSV, which still works."""

    advertiser = Advertiser(epsv_only=True)
    with pytest.raises(UnsupportedNetworkProtocol, match="EPSV") as caught:
        await advertiser.pasv_reply(BOUND, CLIENT)
    assert caught.value.reply_code == 522
    assert "|||50000|" in advertiser.epsv_reply(BOUND)


@pytest.mark.parametrize("answer", ["", 7, "10.0.0.256", b"10.0.0.1"])
async def test_a_callable_that_gives_no_address(answer: Any, names: Names) -> None:
    """The error has reply 425, and the client gets no wrong address."""

    advertiser = Advertiser(lambda client: answer)
    with pytest.raises(DataConnectionError) as caught:
        await advertiser.advertisement(BOUND, CLIENT)
    assert caught.value.end is End.OPEN_FAILED
    assert caught.value.reply_code == 425


async def test_a_callable_that_fails() -> None:
    """Its exception is the cause of ours, and its text is not shown to the client."""

    def fail(client: str) -> str:
        raise LookupError("secret")

    with pytest.raises(DataConnectionError, match="LookupError") as caught:
        await Advertiser(fail).advertisement(BOUND, CLIENT)
    assert isinstance(caught.value.__cause__, LookupError)
    assert "secret" not in str(caught.value)


async def test_a_callable_that_hangs() -> None:
    """It has a deadline, so it blocks no client for ever."""

    async def hang(client: str) -> str:
        await asyncio.get_running_loop().create_future()
        return client

    with pytest.raises(DataConnectionError, match="TimeoutError") as caught:
        await Advertiser(hang, resolve_timeout=0.01).advertisement(BOUND, CLIENT)
    assert caught.value.reply_code == 425


async def test_what_is_known_of_names_is_bounded(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callable may give any number of them; the latest ones are kept."""

    monkeypatch.setattr(nat, "MAX_NAMES", 10)
    names.addresses |= {f"n{number}": "203.0.113.9" for number in range(0, 100, 2)}
    given = iter(range(100))
    advertiser = Advertiser(lambda client: f"n{next(given)}")
    for number in range(100):
        with pytest.raises(DataConnectionError) if number % 2 else contextlib.nullcontext():
            await advertiser.advertisement(BOUND, CLIENT)
    assert [len(known) for known in (advertiser._answers, advertiser._failed_at)] == [10, 10]
    assert ("n98", socket.AF_INET) in advertiser._answers


async def test_a_mapping_that_gives_no_port() -> None:
    """For PASV it is an error with reply 425; for EPSV it is a `BadAddress`."""

    advertiser = Advertiser(exposed_port=20000)
    with pytest.raises(DataConnectionError, match="no address to tell"):
        await advertiser.advertisement(BOUND, CLIENT)
    with pytest.raises(BadAddress):
        advertiser.epsv_reply(BOUND)


async def test_a_name_is_asked_for_once_in_a_while(names: Names) -> None:
    """Clients that ask at the same time share one query. Later the name is resolved again."""

    advertiser = Advertiser("ftp.example.org", resolve_every=1000.0)
    names.addresses["ftp.example.org"] = "203.0.113.9"
    answers = await asyncio.gather(
        *(advertiser.advertisement(BOUND, CLIENT) for _ in range(100))
    )
    assert {answer.address.host for answer in answers} == {"203.0.113.9"}
    assert names.asked == [("ftp.example.org", socket.AF_INET)]

    names.addresses["ftp.example.org"] = "203.0.113.10"
    advertiser._resolve_every = 0.0
    answer = await advertiser.advertisement(BOUND, CLIENT)
    assert answer.address.host == "203.0.113.10"


async def test_a_name_for_a_client_of_ipv6(names: Names) -> None:
    """The name is resolved in the address family of the client."""

    advertiser = Advertiser("ftp.example.org")
    names.addresses["ftp.example.org"] = "2001:db8::9"
    answer = await advertiser.advertisement(HostPort("fd00::5", 50000), "fd00::7")
    assert answer.address.host == "2001:db8::9"
    assert names.asked == [("ftp.example.org", socket.AF_INET6)]


async def test_a_resolver_that_is_down(
    names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    """The last answer is still used, with one warning; without any answer the reply is 425."""

    advertiser = Advertiser("ftp.example.org", resolve_every=0.0)
    with pytest.raises(DataConnectionError, match="cannot be resolved"):
        await advertiser.advertisement(BOUND, CLIENT)

    names.addresses["ftp.example.org"] = "203.0.113.9"
    advertiser._failed_at.clear()
    await advertiser.advertisement(BOUND, CLIENT)
    del names.addresses["ftp.example.org"]
    for _ in range(5):
        answer = await advertiser.advertisement(BOUND, CLIENT)
        assert answer.address.host == "203.0.113.9"
    assert len(caplog.records) == 1


async def test_a_resolver_that_hangs(names: Names) -> None:
    """The query has a deadline, so it blocks no client for ever."""

    advertiser = Advertiser("ftp.example.org", resolve_timeout=0.01)
    names.hangs = True
    with pytest.raises(DataConnectionError, match="cannot be resolved"):
        await advertiser.advertisement(BOUND, CLIENT)


async def test_many_clients_wait_for_one_failure(names: Names) -> None:
    """Clients that wait for the same query share its failure."""

    advertiser = Advertiser("ftp.example.org", resolve_timeout=300.0)
    answers = await asyncio.gather(
        *(advertiser.advertisement(BOUND, CLIENT) for _ in range(100)), return_exceptions=True
    )
    assert all(isinstance(answer, DataConnectionError) for answer in answers)
    assert len(names.asked) == 1


async def test_a_name_that_failed_is_asked_for_again(names: Names) -> None:
    """After a while the name is resolved again."""

    advertiser = Advertiser("ftp.example.org", resolve_timeout=0.1)
    names.hangs = True
    with pytest.raises(DataConnectionError):
        await advertiser.advertisement(BOUND, CLIENT)

    names.hangs = False
    names.addresses["ftp.example.org"] = "203.0.113.9"
    async with asyncio.timeout(60):
        while True:
            try:
                answer = await advertiser.advertisement(BOUND, CLIENT)
            except DataConnectionError:
                await asyncio.sleep(0.01)
            else:
                break
    assert answer.address.host == "203.0.113.9"


async def test_a_private_address_for_a_public_client_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The operator learns why clients hang, and the log is not filled."""

    advertiser = Advertiser()
    with caplog.at_level(logging.WARNING, "ftpdata.opening.nat"):
        for _ in range(3):
            told = await advertiser.advertisement(BOUND, "8.8.8.8")
            assert told.warning is not None

    assert [record.getMessage() for record in caplog.records] == [told.warning]


async def test_warnings_are_bounded(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of remembered warnings is limited, however many clients there are."""

    monkeypatch.setattr("ftpdata.opening.nat.MAX_WARNINGS", 3)
    advertiser = Advertiser()
    for number in range(10):
        await advertiser.advertisement(BOUND, f"8.8.8.{number}")
    assert len(caplog.records) == 3
