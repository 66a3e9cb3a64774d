"""How a transfer ended, and its line in the transfer log."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpdata.outcome import Direction, End, FastPath, TransferResult, format_xferlog_line

ENDED_AT = datetime(2024, 2, 9, 7, 5, 3, tzinfo=timezone.utc)  # noqa: UP017 - as a user may write
DONE = TransferResult(
    direction=Direction.SENT,
    end=End.CLEAN,
    bytes=1050,
    file_bytes=1000,
    seconds=2.0,
    peer="192.0.2.1:40000",
)


@pytest.mark.parametrize(
    ("end", "reply_code"),
    [
        (End.CLEAN, 226),
        (End.RESET, 426),
        (End.LOST, 426),
        (End.TLS_TRUNCATED, 426),
        (End.INCOMPLETE, 426),
        (End.ABORTED, 426),
        (End.CANCELLED, 426),
        (End.PEER_REJECTED, 425),
        (End.PORTS_EXHAUSTED, 425),
        (End.OPEN_FAILED, 425),
        (End.ACCEPT_TIMEOUT, 425),
        (End.CONNECT_TIMEOUT, 425),
        (End.HANDSHAKE_FAILED, 522),
        (End.HANDSHAKE_TIMEOUT, 522),
        (End.FIRST_BYTE_TIMEOUT, 426),
        (End.STALLED, 426),
        (End.TOO_SLOW, 426),
        (End.CLOSE_TIMEOUT, 426),
        (End.CONSUMER_FAILED, 451),
        (End.PRODUCER_FAILED, 451),
        (End.SIZE_MISMATCH, 451),
        (End.SIZE_LIMIT, 552),
        (End.BAD_DATA, 451),
    ],
)
def test_reply_code_of_every_end(end: End, reply_code: int) -> None:
    """Each end has the code that tells the truth about it; only a clean end has 226."""
    assert end.reply_code == reply_code
    assert end.is_clean is (reply_code == 226)
    result = TransferResult(direction=Direction.SENT, end=end)
    assert result.reply_code == reply_code
    assert result.is_complete is end.is_clean


def test_reply_code_can_be_more_precise_than_the_end() -> None:
    """A full disk is a failed consumer, and 452 says more than 451."""
    result = TransferResult(direction=Direction.RECEIVED, end=End.CONSUMER_FAILED, reply_code=452)
    assert result.reply_code == 452
    assert not result.is_complete


def test_which_ends_are_timeouts() -> None:
    """Every end by a deadline is a timeout, and no other end is."""
    assert {end.name for end in End if end.is_timeout} == {
        "ACCEPT_TIMEOUT",
        "CONNECT_TIMEOUT",
        "HANDSHAKE_TIMEOUT",
        "FIRST_BYTE_TIMEOUT",
        "STALLED",
        "TOO_SLOW",
        "CLOSE_TIMEOUT",
    }


def test_ends_are_told_apart() -> None:
    """No two ends have the same value, or one would be an alias of the other."""
    assert len(End.__members__) == len(list(End))
    assert all(end.value.isprintable() for end in End)


def test_rate() -> None:
    """The mean rate is that of the bytes on the connection; without a duration there is none."""
    assert DONE.rate == 525.0
    assert attrs.evolve(DONE, seconds=0.0).rate == 0.0


def test_result_is_a_value() -> None:
    """A result cannot be changed, and starts with all counts at zero."""
    nothing = TransferResult(direction=Direction.RECEIVED, end=End.ABORTED)
    assert (nothing.bytes, nothing.file_bytes, nothing.seconds) == (0, 0, 0.0)
    assert nothing.fast_path is FastPath.NONE
    assert attrs.evolve(DONE) == DONE
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        DONE.bytes = 5  # type: ignore[misc]


def test_xferlog_line() -> None:
    """The line has the fields of xferlog(5), in their order."""
    assert format_xferlog_line(DONE, name="/pub/file.txt", ended_at=ENDED_AT) == (
        "Fri Feb  9 07:05:03 2024 2 192.0.2.1 1000 /pub/file.txt b _ o a anonymous ftp 0 * c"
    )
    upload = attrs.evolve(
        DONE, direction=Direction.RECEIVED, end=End.RESET, peer="[2001:db8::1]:40000"
    )
    line = format_xferlog_line(
        upload,
        name="x",
        ended_at=ENDED_AT,
        ascii_type=True,
        user="jo",
        anonymous=False,
        authenticated_id="joanna",
    )
    assert line == (
        "Fri Feb  9 07:05:03 2024 2 2001:db8::1 1000 x a _ i r jo ftp 1 joanna i"
    )


@pytest.mark.parametrize("end", End)
def test_xferlog_status(end: End) -> None:
    """Only a clean end is logged as complete."""
    line = format_xferlog_line(attrs.evolve(DONE, end=end), name="x", ended_at=ENDED_AT)
    assert line.endswith(" c" if end is End.CLEAN else " i")


@pytest.mark.parametrize(
    ("seconds", "logged"), [(0.0, "0"), (0.4, "0"), (1.6, "2"), (-0.9, "0"), (86400.0, "86400")]
)
def test_xferlog_seconds(seconds: float, logged: str) -> None:
    """The duration is in whole seconds, and never negative."""
    result = attrs.evolve(DONE, seconds=seconds)
    assert format_xferlog_line(result, name="x", ended_at=ENDED_AT).split()[5] == logged


def test_xferlog_date_is_written_in_its_own_zone() -> None:
    """The zone of the date counts, not that of the machine."""
    moment = datetime(2023, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-11)))
    line = format_xferlog_line(DONE, name="x", ended_at=moment)
    assert line.startswith("Sun Dec 31 23:59:59 2023 ")


@given(st.datetimes(min_value=datetime(1000, 1, 1)))  # noqa: DTZ001 - hypothesis requires it bare
def test_xferlog_date_is_that_of_c(moment: datetime) -> None:
    """The date is the one of asctime(3), in English whatever the locale."""
    line = format_xferlog_line(DONE, name="x", ended_at=moment)
    assert line.startswith(f"{moment.ctime()} 2 ")


@pytest.mark.parametrize(("peer", "host"), [(None, "_"), ("192.0.2.1:5", "192.0.2.1"), ("", "_")])
def test_xferlog_host(peer: str | None, host: str) -> None:
    """The host's field is never empty, so that the other fields keep their places."""
    result = attrs.evolve(DONE, peer=peer)
    assert format_xferlog_line(result, name="x", ended_at=ENDED_AT).split()[6] == host


@pytest.mark.parametrize(
    ("name", "logged"),
    [
        ("a b", "a_b"),
        ("a\r\nFri", "a__Fri"),
        ("", "_"),
        ("\x1b[2J", "_[2J"),
        ("n\xa0n\u2028n\u202en", "n_n_n_n"),
        ("caf\xe9/\u4e2d", "caf\xe9/\u4e2d"),
        ("\udcff", "_"),
    ],
)
def test_xferlog_name_cannot_forge_a_record(name: str, logged: str) -> None:
    """Blanks and unprintable characters become underscores; other letters stay."""
    line = format_xferlog_line(DONE, name=name, ended_at=ENDED_AT)
    assert line.split(" ")[9:11] == [logged, "b"]


@given(st.text(), st.text(), st.text(min_size=1))
def test_xferlog_line_always_has_its_fields(name: str, user: str, authenticated_id: str) -> None:
    """Whatever the names, a record is one printable line with the same number of fields."""
    line = format_xferlog_line(
        DONE, name=name, ended_at=ENDED_AT, user=user, authenticated_id=authenticated_id
    )
    assert line.isprintable()
    assert len(line.split()) == 18
