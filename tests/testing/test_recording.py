"""Recording parties enforce their contracts."""

from __future__ import annotations

import pytest

from ftpdata.connection.protocol import DTP
from ftpdata.testing import (
    ConformanceError,
    RecordingConsumer,
    RecordingPullProducer,
    RecordingPushProducer,
)


def test_recording_parties_insist_on_their_contracts() -> None:
    """If they are misused, they raise, and record the misuse."""

    consumer = RecordingConsumer()
    with pytest.raises(ConformanceError):
        consumer.write(b"unregistered")
    with pytest.raises(ConformanceError):
        consumer.unregister_producer()
    with pytest.raises(ConformanceError):
        consumer.register_producer(DTP(), True)
    assert len(consumer.violations) == 3

    pull = RecordingPullProducer(DTP(), [])
    pull.stop_producing()
    with pytest.raises(ConformanceError, match="after stop_producing"):
        pull.resume_producing()

    push = RecordingPushProducer(DTP(), [])
    push.pause_producing()
    with pytest.raises(ConformanceError, match="in turn"):
        push.pause_producing()
