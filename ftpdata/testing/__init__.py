"""For tests: a transport in memory, conformance checks, faults, and a cancellation sweep.

Users of ftpdata test their servers, producers and consumers with it; ftpdata
tests itself with it. It needs no test framework, and imports none.

* `MemoryTransport` and `pair`: a connection without sockets, of which a test
  decides when the network takes bytes, delivers some, ends or breaks.
* `check_producer` and `check_consumer`: whether an object fulfils its contract
  of `ftpdata.contracts`. They raise `ConformanceError`.
* `RecordingConsumer`, `RecordingPullProducer`, `RecordingPushProducer`: simple
  parties that note what is asked of them.
* `tcp_pair`, `reset`, `half_close`, `send_then_cut`, `receive_then_cut`: real
  sockets, and the ways in which real peers fail.
* `sweep`: cancels a scenario at each of its suspensions in turn.

A test in full::

    async def test_a_reset_upload_is_not_a_whole_one():
        dtp, consumer = DTP(), RecordingConsumer()
        transport = MemoryTransport(dtp)
        received = dtp.register_consumer(consumer)
        transport.deliver(b"half a fi")
        transport.lose(ConnectionResetError())
        with pytest.raises(ConnectionReset):
            await received
        assert consumer.calls == ["register_producer", "write", "unregister_producer"]
"""

from __future__ import annotations

from .conformance import check_consumer, check_producer
from .faults import Cut, half_close, receive_then_cut, reset, send_then_cut, tcp_pair
from .recording import (
    ConformanceError,
    RecordingConsumer,
    RecordingPullProducer,
    RecordingPushProducer,
)
from .sweep import sweep
from .transport import MemoryTransport, pair

__all__ = [
    "ConformanceError",
    "Cut",
    "MemoryTransport",
    "RecordingConsumer",
    "RecordingPullProducer",
    "RecordingPushProducer",
    "check_consumer",
    "check_producer",
    "half_close",
    "pair",
    "receive_then_cut",
    "reset",
    "send_then_cut",
    "sweep",
    "tcp_pair",
]
