"""Tools for tests: a transport in memory, conformance checks, faults, a cancellation sweep.

Use them to test servers, clients, producers and consumers that are built on ftpdata;
ftpdata tests itself with them. They work with any test framework, and import none. This
test lets a connection fail in the middle of an upload, without a socket::

    import asyncio

    from ftpdata import DTP
    from ftpdata.errors import ConnectionReset
    from ftpdata.testing import MemoryTransport, RecordingConsumer

    async def test_a_reset_upload_is_not_complete():
        dtp, consumer = DTP(), RecordingConsumer()
        transport = MemoryTransport(dtp)
        received = dtp.register_consumer(consumer)
        transport.deliver(b"half a fi")
        transport.lose(ConnectionResetError())
        try:
            await received
        except ConnectionReset as error:
            assert error.reply_code == 426
        else:
            raise AssertionError("the upload looked complete")
        assert consumer.data == b"half a fi"
        assert consumer.calls == ["register_producer", "write", "unregister_producer"]

    asyncio.run(test_a_reset_upload_is_not_complete())

## Checking a whole server

``python -m ftpdata.testing`` checks any FTP server, yours or anybody else's, against the standards
and against what servers are known to get wrong: replies, who may connect to a passive port, what
becomes of an upload that is cut, ABOR in every phase, hostile names, how TLS ends. It needs only
what ftpdata needs, and takes two minutes at most::

    python -m ftpdata.testing 127.0.0.1 2121 --user ann:secret --writable / --local /srv/ftp

``--writable`` names a directory of the server in which it may make one of its own, ``--local`` the
same directory as this machine sees it; without them, checks that need files are not made.
``--tls explicit`` or ``--tls implicit`` protects all connections, ``--only NAME`` makes one check,
``--allow-slow`` makes those that take long, too, and ``--list`` shows all with their sources. It
prints a line for each check, or one JSON object with ``--json``, and ends with status 1 if one
fails. In a program, `check_server` returns the same results::

    import functools
    import tempfile
    from argparse import Namespace

    import anyio

    from examples import minimal_server  # yours
    from ftpdata.testing import Outcome, ServerUnderTest, check_server

    async def check(directory):
        options = Namespace(directory=directory, user="ann:secret", certificate=None)
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        serve = functools.partial(minimal_server.serve, options, anyio.Semaphore(100))
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve)
            server = ServerUnderTest("127.0.0.1", port, "ann", "secret")
            for result in await check_server(server, only=["greeting-and-login", "quit-in-tls"]):
                print(result.name, result.result.value, result.why)
                assert result.result is not Outcome.FAIL
            tasks.cancel_scope.cancel()

    with tempfile.TemporaryDirectory() as directory:
        anyio.run(check, directory)

## With pytest

An installed ftpdata has fixtures, which do nothing unless a test asks for them:
``ftpdata_check_server``, ``ftpdata_client`` (a scripted client), ``ftpdata_peers`` (peers that
reset, truncate, read slowly or steal) and ``ftpdata_leaks`` (descriptors and threads that a test
leaves behind, with an allow-list). With a fixture `my_server` that starts a server in a thread or a
process and has its port, this is a whole file of tests::

    import asyncio

    from ftpdata.testing import Cut, ServerUnderTest

    def test_my_server(my_server, ftpdata_check_server):
        server = ServerUnderTest("127.0.0.1", my_server.port, "ann", "secret", writable="/")
        asyncio.run(ftpdata_check_server(server, allow={"reset-upload-over-a-file"}))

    def test_a_missing_file(my_server, ftpdata_client):
        async def session():
            client = ftpdata_client("127.0.0.1", my_server.port, user="ann", password="secret")
            async with client as ann:
                reply, data = await ann.attempt("RETR nothing")
                assert reply.code == 550
                assert data is None

        asyncio.run(session())

    def test_an_upload_that_is_reset(my_server, ftpdata_client, ftpdata_peers, ftpdata_leaks):
        async def session():
            client = ftpdata_client("127.0.0.1", my_server.port, user="ann", password="secret")
            async with client as ann:
                port = await ann.passive_port()
                await ann.send("STOR file")
                await ann.expect_reply(125, 150)
                await ftpdata_peers.send_then_cut(port, b"half a fi", Cut.RESET)
                await ann.expect_reply(426)

        asyncio.run(session())

From a checkout that is not installed, ``pytest -p ftpdata.testing.pytest_plugin`` has the fixtures.

The pieces:

- `MemoryTransport` and `pair`: connections without sockets, whose network is the
  test: it decides when bytes are sent, when some arrive, when the connection ends or
  breaks;
- `check_producer` and `check_consumer`: check that an object fulfils its contract of
  `ftpdata.contracts`, and raise `ConformanceError` if it does not;
- `check_upload_target` and `check_resumable_target`: the same for the target of an
  upload, which is published whole or not at all, and can be resumed if it was cut;
- `RecordingConsumer`, `RecordingPullProducer`, `RecordingPushProducer`: simple objects
  that record the calls they get;
- `tcp_pair`, `reset`, `half_close`, `send_then_cut`, `receive_then_cut`, with `Cut`:
  real sockets, and the ways in which real peers fail;
- `check_server`: checks a whole server over its control connection, with what the field knows
  servers get wrong; `ServerUnderTest` says which server, and what may be done to it;
- `scripted_client`, with `ScriptedClient` and `ScriptedStream`: a client that does only what it
  is told, and fails in every way; `HostilePeers`: peers that behave badly;
- `LeakCheck`: finds the descriptors, threads and tasks that a test leaves behind;
- `sweep`: cancels a scenario at each of its suspensions in turn, and names what it
  leaves: tasks, descriptors, threads, files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .cancellation import sweep
    from .client import Failure, Reply, ScriptedClient, ScriptedStream, Truncated
    from .conformance import check_consumer, check_producer
    from .faults import Cut, half_close, receive_then_cut, reset, send_then_cut, tcp_pair
    from .leaks import LeakCheck
    from .peers import HostilePeers, scripted_client
    from .recording import (
        ConformanceError,
        RecordingConsumer,
        RecordingPullProducer,
        RecordingPushProducer,
    )
    from .server_check import CheckResult, Outcome, Protection, ServerUnderTest, check_server
    from .target_conformance import check_resumable_target, check_upload_target
    from .transport import MemoryTransport, pair

__all__ = [
    "CheckResult",
    "ConformanceError",
    "Cut",
    "Failure",
    "HostilePeers",
    "LeakCheck",
    "MemoryTransport",
    "Outcome",
    "Protection",
    "RecordingConsumer",
    "RecordingPullProducer",
    "RecordingPushProducer",
    "Reply",
    "ScriptedClient",
    "ScriptedStream",
    "ServerUnderTest",
    "Truncated",
    "check_consumer",
    "check_producer",
    "check_resumable_target",
    "check_server",
    "check_upload_target",
    "half_close",
    "pair",
    "receive_then_cut",
    "reset",
    "scripted_client",
    "send_then_cut",
    "sweep",
    "tcp_pair",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "cancellation": ("sweep",),
            "client": ("Failure", "Reply", "ScriptedClient", "ScriptedStream", "Truncated"),
            "conformance": ("check_consumer", "check_producer"),
            "faults": (
                "Cut",
                "half_close",
                "receive_then_cut",
                "reset",
                "send_then_cut",
                "tcp_pair",
            ),
            "leaks": ("LeakCheck",),
            "peers": ("HostilePeers", "scripted_client"),
            "recording": (
                "ConformanceError",
                "RecordingConsumer",
                "RecordingPullProducer",
                "RecordingPushProducer",
            ),
            "server_check": (
                "CheckResult",
                "Outcome",
                "Protection",
                "ServerUnderTest",
                "check_server",
            ),
            "target_conformance": ("check_resumable_target", "check_upload_target"),
            "transport": ("MemoryTransport", "pair"),
        },
    )
