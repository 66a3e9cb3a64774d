"""Tools for tests: a transport in memory, conformance checks, faults, a cancellation sweep.

Use them to test servers, clients, producers and consumers that are built on ftpdata;
ftpdata tests itself with them. They work with any test framework, and import none; for pytest,
`ftpdata.testing.pytest_plugin` has fixtures, which are there wherever ftpdata is installed. This
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

This one checks a whole server, and shows what is wrong with it. From the command line,
``python -m ftpdata.testing HOST PORT`` does the same::

    async def test_my_server(host, port):
        server = ServerUnderTest(host, port, "ann", "secret", writable="/")
        for result in await check_server(server):
            assert result.result is not Outcome.FAIL, f"{result.name}: {result.why}"

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
