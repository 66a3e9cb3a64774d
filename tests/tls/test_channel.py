"""Tests of `ftpdata.tls._channel`: TLS without a connection."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from ftpdata.tls._channel import TLSChannel
from ftpdata.tls.policy import DataTLS

from ..harness.channels import BAD_RECORD, channels, for_client, for_server, shake_hands
from ..harness.packages import needs_cryptography
from ..harness.tls import HOST_NAME, RecordWriter, client_context, server_certificate

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = pytest.mark.parametrize(
    "version", [pytest.param(TLS_1_2, id="TLS1.2"), pytest.param(TLS_1_3, id="TLS1.3")]
)

CONTENT = bytes(i * 7 % 251 for i in range(100_000))


def read_all(channel: TLSChannel, size: int) -> tuple[bytes, bool]:
    """Read all data into memory of this size; return them, and whether the end was announced."""

    memory = memoryview(bytearray(size))
    received = b""
    while True:
        count, has_announced = channel.read_into(memory)
        received += bytes(memory[:count])
        if not count:
            return received, has_announced


@VERSIONS
@pytest.mark.parametrize("step", [1 << 20, 1])
def test_two_channels_shake_hands(version: ssl.TLSVersion, step: int) -> None:
    """The handshake succeeds in pieces of any size. Then data pass in both directions."""

    server, client = channels(version, step=step)
    for here, there in ((server, client), (client, server)):
        here.write(CONTENT)
        there.feed(here.take())
        assert read_all(there, 1 << 20) == (CONTENT, False)
        here.write(b"")
        assert here.take() == b""


def test_a_handshake_that_fails_has_an_alert() -> None:
    """The alert tells the other side why."""

    server, client = TLSChannel(for_server(TLS_1_2)), TLSChannel(for_client(TLS_1_3))
    client.handshake()
    server.feed(client.take())
    with pytest.raises(ssl.SSLError):
        server.handshake()
    client.feed(server.take())
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        client.handshake()


@VERSIONS
@pytest.mark.parametrize("size", [1, 1000, 16384, len(CONTENT), 1 << 20])
def test_data_are_read_into_memory_of_any_size(version: ssl.TLSVersion, size: int) -> None:
    """All data are read first, then the end that was announced after them."""

    server, client = channels(version)
    client.write(CONTENT)
    assert not client.announce_end()
    server.feed(client.take())
    held = [server.holds_data]
    assert read_all(server, size) == (CONTENT, True)
    held.append(server.holds_data)
    assert held == [True, False]
    assert read_all(server, size) == (b"", True)
    assert server.announce_end()
    client.feed(server.take())
    assert read_all(client, size) == (b"", True)


def test_the_end_is_reported_with_the_data_before_it() -> None:
    """One read returns the last data and the end, if there is room for all of the data."""

    server, client = channels()
    client.write(b"data")
    client.announce_end()
    server.feed(client.take())
    assert server.read() == (b"data", True)


def test_memory_without_room_takes_nothing() -> None:
    """A read into empty memory loses no data, and does not report an end."""

    server, client = channels()
    client.write(b"data")
    server.feed(client.take())
    assert server.read_into(memoryview(b"")) == (0, False)
    assert server.read() == (b"data", False)


@VERSIONS
def test_garbage_is_reported_after_the_good_data_before_it(version: ssl.TLSVersion) -> None:
    """After the good data, each further read raises the true reason."""

    server, client = channels(version)
    client.write(b"good")
    server.feed(client.take() + BAD_RECORD)
    assert server.read() == (b"good", False)
    assert server.holds_data
    for _ in range(2):
        # The second name is that of OpenSSL 3.6.
        with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac|record layer failure"):
            server.read()
    assert server.take()


@VERSIONS
def test_half_a_record_waits(version: ssl.TLSVersion) -> None:
    """No data come before the whole record is there; `holds_data` is true meanwhile."""

    server, client = channels(version)
    client.write(b"data")
    record = client.take()
    for i in range(len(record)):
        assert server.read() == (b"", False)
        server.feed(record[i : i + 1])
        assert server.holds_data
    assert server.read() == (b"data", False)
    assert not server.holds_data


@VERSIONS
def test_the_end_can_be_announced_over_data_that_nobody_has_read(version: ssl.TLSVersion) -> None:
    """The unread data are dropped. Later data and the peer's own end can still be read."""

    server, client = channels(version)
    client.write(b"dropped")
    server.feed(client.take())
    assert not server.announce_end()
    client.write(b"more")
    server.feed(client.take())
    assert server.read() == (b"more", False)
    client.feed(server.take())
    assert client.read() == (b"", True)
    assert client.announce_end()
    server.feed(client.take())
    assert server.read() == (b"", True)


def test_what_the_peer_has_not_acknowledged() -> None:
    """All bytes that were taken count, except the announced end. None stands for unknown."""

    server, client = channels()
    assert server.undelivered(1000) is None
    server.acknowledged_before = 1000
    before = server.undelivered(1000)
    assert before is not None
    server.write(CONTENT)
    server.announce_end()
    records = server.take()
    size = server.undelivered(1000)
    assert size is not None
    client.feed(records[: size - before])
    assert read_all(client, 1 << 20) == (CONTENT, False)
    assert before + len(CONTENT) < size < before + len(records)
    assert server.undelivered(1000 + size - 1) == 1
    assert server.undelivered(1000 + size + 50) == 0
    assert server.undelivered(None) is None


@needs_cryptography
def test_what_tls_itself_has_sent_counts(tmp_path: Path) -> None:
    """An answer to new keys is acknowledged as data are."""

    tls = for_client(TLS_1_3)
    tls.context.keylog_filename = str(tmp_path / "keys")
    server, client = TLSChannel(for_server()), TLSChannel(tls)
    shake_hands(server, client)
    writer = RecordWriter(tmp_path / "keys")
    server.acknowledged_before = 0
    before = server.undelivered(0)
    server.feed(writer.key_update(requested=True) + writer.key_update(requested=True))
    assert server.read() == (b"", False)
    server.write(b"data")
    sent = server.take()
    client.feed(sent)
    assert client.read() == (b"data", False)
    assert before is not None
    assert server.undelivered(0) == before + len(sent)


# Tickets of TLS 1.3


def with_tickets() -> list[TLSChannel]:
    """Make a server's and a client's channel after a handshake with tickets."""

    server = TLSChannel(DataTLS(context=server_certificate(TLS_1_3).session_context()))
    client = TLSChannel(for_client(TLS_1_3))
    shake_hands(server, client)
    return [server, client]


def has_ticket(client: TLSChannel) -> bool:
    """Return whether the client has read a ticket."""

    return client.object.session is not None and client.object.session.has_ticket


def test_tickets_go_with_the_first_data() -> None:
    """A client that reads data gets the tickets before them, and only once."""

    server, client = with_tickets()
    assert client.read() == (b"", False)
    assert not has_ticket(client)
    sizes = []
    for _ in range(2):
        server.write(CONTENT)
        records = server.take()
        sizes.append(len(records))
        client.feed(records)
        assert read_all(client, 1 << 20) == (CONTENT, False)
        assert has_ticket(client)
    assert 0 < sizes[0] - sizes[1] < 1000


def test_tickets_wait_while_the_client_sends() -> None:
    """A client that only sends gets them with the server's end, after its own."""

    server, client = with_tickets()
    for _ in range(2):
        client.write(CONTENT)
        server.feed(client.take())
        assert read_all(server, 1 << 20) == (CONTENT, False)
        client.feed(server.take())
        assert client.read() == (b"", False)
        assert not has_ticket(client)
    client.announce_end()
    server.feed(client.take())
    assert server.read() == (b"", True)
    assert server.announce_end()
    client.feed(server.take())
    assert client.read() == (b"", True)
    assert has_ticket(client)


@pytest.mark.parametrize("is_empty", [False, True])
def test_tickets_are_acknowledged_like_the_data_after_them(is_empty: bool) -> None:
    """Their acknowledgement is not taken for that of data; without data, they do not count."""

    server, client = with_tickets()
    server.acknowledged_before = 0
    before = server.undelivered(0)
    assert before is not None
    if not is_empty:
        server.write(CONTENT)
    server.announce_end()
    records = server.take()
    size = server.undelivered(0)
    assert size is not None
    client.feed(records[: size - before])
    assert read_all(client, 1 << 20) == (b"" if is_empty else CONTENT, False)
    assert (size == before) == is_empty
    assert size < before + len(records)


def test_a_channel_of_any_context() -> None:
    """A channel also works with a context that `ftpdata.tls.policy` has not prepared."""

    server = TLSChannel(DataTLS(context=server_certificate().session_context()))
    client = TLSChannel(
        DataTLS(context=client_context(), server_side=False, server_hostname=HOST_NAME)
    )
    shake_hands(server, client)
    client.write(b"data")
    server.feed(client.take())
    assert server.read() == (b"data", False)
    client.leave()
    server.leave()


class Failing:
    """A TLS object that fails within OpenSSL, and has nothing to send for it."""

    def __getattr__(self, name: str) -> object:
        def fail(*_: object) -> None:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, "internal error")

        return fail


def test_what_cannot_be_encrypted_never_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else the peer acknowledges: it has not got everything."""

    server, _ = channels(TLS_1_3)
    server.acknowledged_before = 0
    server.write(CONTENT)
    server.take()
    assert server.undelivered(1 << 20) == 0
    monkeypatch.setattr(server, "object", Failing())
    with pytest.raises(ssl.SSLError):
        server.write(CONTENT)
    assert server.undelivered(1 << 20)


def test_an_end_that_cannot_be_announced_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that gets an end of file without it takes what it has for cut."""

    server, _ = channels(TLS_1_3)
    server.acknowledged_before = 0
    monkeypatch.setattr(server, "object", Failing())
    with pytest.raises(ssl.SSLError):
        server.announce_end()
    assert not server.has_announced_end
    assert server.undelivered(1 << 20)
