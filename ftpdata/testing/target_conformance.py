"""Checks that the target of an upload fulfils its contract of `ftpdata.contracts`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..contracts import ResumableTarget, UploadTarget
from ..errors import FTPDataError
from .recording import ConformanceError

__all__ = ["check_resumable_target", "check_upload_target"]

T = TypeVar("T", bound=UploadTarget)
R = TypeVar("R")

Published = Callable[[], "bytes | Awaitable[bytes | None] | None"]
"""Returns what everybody can see of the upload's file; None if there is none."""

DATA = b"The quick brown fox\r\njumps over the lazy dog.\r\n\0\xff"


class _Scenario:
    """One use of a target, and how it is called in a verdict."""

    def __init__(self, name: str, published: Published, patience: float) -> None:
        self._name = name
        self._published = published
        self._patience = patience

    async def within(self, work: Awaitable[R], doing: str) -> R:
        """Await something that must neither fail nor take long."""

        try:
            async with asyncio.timeout(self._patience):
                return await work
        except TimeoutError:
            raise self.violation(f"{doing} takes no longer than {self._patience:g} s") from None
        except Exception as error:
            raise self.violation(f"{doing} does not raise, but raised {error!r}") from error

    async def refused(self, work: Awaitable[T], doing: str) -> None:
        """Await something that must raise an `FTPDataError`."""

        try:
            async with asyncio.timeout(self._patience):
                target = await work
        except FTPDataError:
            return
        except Exception as error:
            raise self.violation(f"{doing} raises an FTPDataError, not {error!r}") from error

        # What is wrong first is the verdict, however the discard goes.
        with contextlib.suppress(ConformanceError):
            await self.within(target.discard(), "discard")
        raise self.violation(f"{doing} raises an FTPDataError")

    async def seen(self) -> bytes | None:
        """Return what everybody sees."""

        found = self._published()
        return await found if isinstance(found, Awaitable) else found

    async def expect(self, expected: bytes | None, when: str) -> None:
        """Compare what everybody sees."""

        found = await self.seen()
        if found != expected:
            raise self.violation(f"{when}, {expected!r:.80} is published, not {found!r:.80}")

    def violation(self, rule: str) -> ConformanceError:
        """Make the verdict."""

        return ConformanceError(f"{self._name}: {rule}")


async def check_upload_target(
    open_target: Callable[[], Awaitable[UploadTarget]],
    *,
    published: Published,
    data: bytes = DATA,
    patience: float = 5.0,
) -> None:
    """Check that a target publishes an upload whole or not at all.

    Uploads are committed in one piece, byte by byte and without a byte, discarded, and
    discarded after a write that was cancelled.

    Args:
        open_target: Opens a new target, for the same name each time.
        published: Returns what is published under that name; None if nothing is.
        data: The data to upload, at least two bytes.
        patience: Seconds for each call; more is a violation.

    Raises:
        ConformanceError: It does not fulfil the contract; names the use and the rule.
    """

    for name, pieces in (
        ("all in one piece", [data]),
        ("byte by byte", [data[i : i + 1] for i in range(len(data))]),
        ("without a byte", []),
    ):
        scenario = _Scenario(name, published, patience)
        before = await scenario.seen()
        target = await _opened(scenario, open_target())
        for piece in pieces:
            await scenario.within(target.write(piece), "write")
        await scenario.expect(before, "before the commit")
        await scenario.within(target.commit(), "commit")
        await scenario.expect(b"".join(pieces), "after the commit")

    for name, content in (("a discard", data[:-1]), ("a discard without a byte", b"")):
        scenario = _Scenario(name, published, patience)
        before = await scenario.seen()
        target = await _opened(scenario, open_target())
        if content:
            await scenario.within(target.write(content), "write")
        await scenario.within(target.discard(), "discard")
        await scenario.expect(before, "after the discard")

    scenario = _Scenario("a write that is cancelled", published, patience)
    before = await scenario.seen()
    target = await _opened(scenario, open_target())
    writing = asyncio.ensure_future(target.write(data))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait((writing,), timeout=patience)
    if not writing.done():
        raise scenario.violation(f"write ends within {patience:g} s when it is cancelled")
    await scenario.within(target.discard(), "discard")
    await scenario.expect(before, "after the discard")


async def check_resumable_target(
    open_target: Callable[[int], Awaitable[ResumableTarget]],
    *,
    published: Published,
    data: bytes = DATA,
    patience: float = 5.0,
) -> None:
    """Check that an upload that was cut can be resumed from what came of it, and from nothing else.

    Args:
        open_target: Opens a target at an offset, for the same name and owner each time: a new
            upload at 0, what was kept otherwise. It refuses an offset beyond what was kept with
            an `FTPDataError`.
        published: Returns what is published under that name; None if nothing is.
        data: The data to upload, at least four bytes.
        patience: Seconds for each call; more is a violation.

    Raises:
        ConformanceError: It does not fulfil the contract; names the use and the rule.
    """

    half = len(data) // 2
    for name, offset in (("resumed at its end", half), ("resumed before its end", half // 2)):
        scenario = _Scenario(name, published, patience)
        before = await _keep(scenario, open_target, 0, data[:half])
        target = await _opened(scenario, open_target(offset), offset)
        await scenario.within(target.write(data[offset:]), "write")
        await scenario.expect(before, "before the commit")
        await scenario.within(target.commit(), "commit")
        await scenario.expect(data, "after the commit")
        await scenario.refused(open_target(1), "resuming what was published")

    scenario = _Scenario("cut again and again", published, patience)
    for offset in range(len(data) - 1):
        await _keep(scenario, open_target, offset, data[offset : offset + 1])
    await _keep(scenario, open_target, len(data) - 1, b"")
    target = await _opened(scenario, open_target(len(data) - 1), len(data) - 1)
    await scenario.within(target.write(data[-1:]), "write")
    await scenario.within(target.commit(), "commit")
    await scenario.expect(data, "after the commit")

    scenario = _Scenario("a new upload of the name", published, patience)
    await _keep(scenario, open_target, 0, data[:half])
    await _keep(scenario, open_target, 0, data[-1:])
    await scenario.refused(open_target(2), "resuming what came of an older upload")
    target = await _opened(scenario, open_target(1), 1)
    await scenario.within(target.commit(), "commit")
    await scenario.expect(data[-1:], "after the commit")

    scenario = _Scenario("a discard", published, patience)
    before = await _keep(scenario, open_target, 0, data[:half])
    await scenario.refused(open_target(half + 1), "resuming beyond what came")
    target = await _opened(scenario, open_target(half), half)
    await scenario.within(target.write(data[half:]), "write")
    await scenario.within(target.discard(), "discard")
    await scenario.expect(before, "after the discard")
    await scenario.refused(open_target(1), "resuming what was discarded")


async def _keep(
    scenario: _Scenario,
    open_target: Callable[[int], Awaitable[ResumableTarget]],
    offset: int,
    data: bytes,
) -> bytes | None:
    """Upload something and cut it; return what everybody sees, before and after."""

    before = await scenario.seen()
    target = await _opened(scenario, open_target(offset), offset)
    if data:
        await scenario.within(target.write(data), "write")
    _require_position(scenario, target, offset + len(data))
    await scenario.within(target.keep(), "keep")
    await scenario.expect(before, "after a cut")
    return before


async def _opened(scenario: _Scenario, opening: Awaitable[T], offset: int | None = None) -> T:
    target = await scenario.within(opening, "opening")
    if offset is not None:
        _require_position(scenario, target, offset)
    return target


def _require_position(scenario: _Scenario, target: UploadTarget, expected: int) -> None:
    position = getattr(target, "position", None)
    if position != expected:
        raise scenario.violation(f"position is {expected}, not {position!r}")
