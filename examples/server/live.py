"""The transfers of a server on the screen, as they run."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Self

import attrs
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ftpdata import Direction, End, TransferResult
from ftpdata.observers import Observer, Transfer

__all__ = ["LiveObserver"]

SHOWN = 12
"""Running transfers that are shown; there may be thousands."""

REMEMBERED = 8
"""Transfers that have ended and are still shown."""


@attrs.frozen
class Ended:
    """A transfer that has ended."""

    what: str
    result: TransferResult


class LiveObserver(Observer):
    """Shows running transfers with rate and progress, the last ones that ended, and totals.

    A context manager, within which the screen is refreshed four times a second.

    Args:
        console: Where it is shown.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = Console() if console is None else console
        self._lock = threading.Lock()
        self._running: dict[int, Transfer] = {}
        self._ended: deque[Ended] = deque(maxlen=REMEMBERED)
        self._counts: Counter[End] = Counter()
        self._bytes: Counter[Direction] = Counter()
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=4,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._live.stop()

    def started(self, transfer: Transfer) -> None:
        """Show it."""

        with self._lock:
            self._running[transfer.number] = transfer

    def ended(
        self, transfer: Transfer, result: TransferResult, error: BaseException | None
    ) -> None:
        """Show how it ended."""

        with self._lock:
            del self._running[transfer.number]
            self._ended.appendleft(Ended(_what(transfer), result))
            self._counts[result.end] += 1
            self._bytes[result.direction] += result.file_bytes

    def render(self) -> RenderableType:
        """Return what is shown now; the refreshing thread calls it."""

        with self._lock:
            running, ended = list(self._running.values()), list(self._ended)
            counts, passed = Counter(self._counts), Counter(self._bytes)

        table = Table(title=f"{len(running)} transfers", title_justify="left", expand=True)
        table.add_column("client")
        table.add_column("transfer", ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column("bytes", justify="right")
        table.add_column("done", justify="right")
        table.add_column("rate", justify="right")
        for transfer in running[:SHOWN]:
            table.add_row(
                _text(_client(transfer)),
                _text(_what(transfer)),
                _size(transfer.file_bytes),
                _share(transfer),
                f"{_size(_rate(transfer.file_bytes, transfer.seconds))}/s",
            )
        if len(running) > SHOWN:
            table.add_row("", f"and {len(running) - SHOWN} more", "", "", "")

        past = Table(title="ended", title_justify="left", expand=True, show_header=False)
        past.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        past.add_column(justify="right")
        past.add_column(justify="right")
        past.add_column()
        for each in ended:
            result = each.result
            past.add_row(
                _text(each.what),
                _size(result.file_bytes),
                f"{_size(_rate(result.file_bytes, result.seconds))}/s",
                Text(result.end.value, style="green" if result.is_complete else "red"),
            )

        total = sum(counts.values())
        summary = Text(
            f"{total} ended, {total - counts[End.CLEAN]} of them not complete; "
            f"{_size(passed[Direction.SENT])} sent, {_size(passed[Direction.RECEIVED])} received"
        )
        return Group(table, past, summary)


def _what(transfer: Transfer) -> str:
    subject = transfer.subject
    if subject is None:
        return transfer.direction.value
    return f"{subject.command} {subject.name}"


def _client(transfer: Transfer) -> str:
    subject = transfer.subject
    if subject is None or subject.session is None:
        return "" if transfer.peer is None else transfer.peer.host
    return f"{subject.user}@{subject.session.partition('#')[0]}"


def _text(name: str) -> Text:
    # A name is no markup, and has no control characters that the terminal would obey.
    return Text("".join(each if each.isprintable() else "?" for each in name))


def _share(transfer: Transfer) -> str:
    total = transfer.total
    return "" if not total else f"{100 * transfer.file_bytes // total} %"


def _rate(nbytes: int, seconds: float) -> float:
    return nbytes / seconds if seconds > 0 else 0.0


def _size(nbytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if nbytes < 1024:  # noqa: PLR2004 - the step from one unit to the next
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} TiB"
