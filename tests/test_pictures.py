"""The pictures of the design tell the truth: they are drawn from the sources, and watched here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree as ET

import attrs
import pytest

from ftpdata.observers import Observer
from ftpdata.observers.contract import Transfer, Upload
from tests.docs.house import TEXTS, arrows, draw_house, rooms
from tests.docs.life import LIVES, Step, draw_life, resolve
from tests.docs.pictures import PICTURES
from tests.harness.packages import needs_cpython
from tests.server.client import serving
from tests.test_layers import ORDER

SIZE = 8 * 1024 * 1024
STEPS = [step for life in LIVES.values() for steps in life.values() for step in steps]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_that_of_the_sources(path: Path) -> None:
    """``python -m tests.docs --pictures`` draws the pictures anew."""

    drawn = PICTURES[path]()
    assert path.read_text("utf-8") == drawn
    ET.fromstring(drawn)


def test_every_module_has_a_room() -> None:
    """The rooms hold all modules; each room of several modules says what it is for."""

    assert sorted(module for room in rooms() for module in room.modules) == sorted(ORDER)
    assert all(room.text for room in rooms())
    assert {*TEXTS} <= {room.name for room in rooms()}


def test_arrows_lead_downwards() -> None:
    """No arrow leads up, or in a circle; what follows from two arrows has none of its own."""

    names = [room.name for room in rooms()]
    lines = {(start, end) for start, others in arrows().items() for end in others}
    assert ("transfers", "opening") in lines
    assert ("transfers", "connection") not in lines
    assert draw_house().count('class="arrow"') == len(lines)
    ranks = {name: number for number, name in enumerate(names)}
    assert all(ranks[end] < ranks[start] for start, end in lines)


def test_every_step_is_a_function() -> None:
    """Each step resolves, and stands in the picture."""

    texts = {text.text for text in ET.fromstring(draw_life()).iter() if text.text}
    assert {step.name for step in STEPS} <= texts
    assert all(callable(resolve(step)) for step in STEPS)


@pytest.mark.parametrize(
    "step",
    [
        Step("ftpdata.transfers.nowhere", "send_file", ""),
        Step("ftpdata.transfers.sending", "send_files", ""),
        Step("ftpdata.connection.protocol", "DTP.finished", ""),
    ],
    ids=lambda step: step.name,
)
def test_a_step_that_is_no_more_is_an_error(step: Step) -> None:
    """A module, a function or a method that was renamed stops the drawing."""

    with pytest.raises((AttributeError, ImportError)):
        resolve(step)


class Judge(Observer):
    """An observer that looks at uploads before they are published."""

    async def before_publish(self, transfer: Transfer, upload: Upload) -> None:
        """Agree."""

        await super().before_publish(transfer, upload)


@attrs.define
class Watched:
    """The functions that were called, each once, in order."""

    called: dict[tuple[str, str], None] = attrs.Factory(dict)

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """Take note of a call; a profile function."""

        if event == "call":
            place = str(frame.f_globals.get("__name__")), frame.f_code.co_qualname
            self.called.setdefault(place)


@contextmanager
def watching() -> Iterator[Watched]:
    """Watch the calls of this thread."""

    watched, previous = Watched(), sys.getprofile()
    sys.setprofile(watched.note)
    try:
        yield watched
    finally:
        sys.setprofile(previous)


@pytest.mark.asyncio_only("uvloop calls from C, which a profile function does not see")
@pytest.mark.blocking_allowed("each call is looked at, which takes time")
@pytest.mark.skipif(sys.platform != "linux", reason="the fast ways of the pictures are Linux's")
@needs_cpython("PyPy calls no splice(2)")
async def test_transfers_take_the_steps_of_the_picture(served_directory: Path) -> None:
    """A download and an upload of the reference server call each function, in this order."""

    await asyncio.to_thread((served_directory / "file").write_bytes, bytes(SIZE))
    seen: list[list[tuple[str, str]]] = []
    async with (
        serving(served_directory, observer=Judge()) as server,
        server.logged_in() as client,
    ):
        data = await client.passive()
        with watching() as watched:
            client.send("RETR file")
            assert await client.codes(1) in ([125], [150])
            assert len(await data.read()) == SIZE
            assert await client.codes(1) == [226]
        seen.append([*watched.called])
        data = await client.passive()
        with watching() as watched:
            client.send("STOR other")
            assert await client.codes(1) in ([125], [150])
            await data.send(bytes(SIZE))
            assert await client.codes(1) == [226]
        seen.append([*watched.called])

    for life, calls in zip(LIVES.values(), seen, strict=True):
        steps = [(step.module, step.name) for steps in life.values() for step in steps]
        assert [place for place in calls if place in steps] == steps
