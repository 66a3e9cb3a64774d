"""Draws the life of one download and of one upload, from the command to the reply 226.

The steps are those of the reference server, with a file that is larger than what is moved at once;
tests/test_pictures.py watches real transfers take them, in this order.
"""

from __future__ import annotations

import importlib

import attrs

from tests.docs.svg import Drawing

__all__ = ["LIVES", "Step", "draw_life", "resolve"]


@attrs.frozen
class Step:
    """A function that is called, and what it does.

    Attributes:
        module: Its module.
        name: The function, within its class if it has one.
        text: What it does.
    """

    module: str
    name: str
    text: str

    @property
    def room(self) -> str:
        """The room of the module, as the picture of the house has it."""

        package, room, *_ = self.module.split(".")
        return "system" if room.startswith("_") else room if package == "ftpdata" else "server"

    @property
    def page(self) -> str:
        """The page of its module, or else of the package."""

        package, _, module = self.module.rpartition(".")
        return package if module.startswith("_") else self.module


COMMANDS = "examples.server.commands.transfers"

FIND_COMMAND = Step(
    "examples.server.commands.table",
    "find_command",
    "which function answers, and whether this user may",
)
TAKE = Step("examples.server.transfer", "DataChannel.take", "takes what PASV made; says 150")
CHECK = [
    Step("ftpdata.transfers._door", "check_arguments", "refuses what makes no sense"),
    Step("ftpdata.transfers._report", "Report.start", "the clock runs; the observer knows"),
]
OPEN = [
    Step("ftpdata.opening.endpoint", "Endpoint.open", "waits for the peer, and for TLS"),
    Step("ftpdata.connection.protocol", "DTP.connection_made", "owns the connection"),
    Step("ftpdata.transfers._supervisor", "Supervisor.run", "deadlines and aborts hold"),
]
TELL = [
    Step("ftpdata.observers.contract", "Observer.ended", "is told once"),
    Step(COMMANDS, "_reply_to", "makes the reply 226"),
]
"""The steps that are the same in both directions."""

LIVES: dict[str, dict[str, list[Step]]] = {
    "RETR, a download": {
        "decide": [
            FIND_COMMAND,
            Step(COMMANDS, "retrieve", "is there room for a transfer, and what does REST say"),
        ],
        "look": [
            Step("examples.server.disk", "DiskStore.open_reader", "opens the file, or answers 550"),
            TAKE,
        ],
        "enter": [
            Step("ftpdata.transfers.sending", "send_file", "gets the endpoint and the file"),
            *CHECK,
        ],
        "open": OPEN,
        "move": [
            Step("ftpdata.files.source", "FileSource.open", "learns the size, in a thread"),
            Step("ftpdata.transfers._sendfile", "send_by_sendfile", "sends at the peer's pace"),
            Step("ftpdata._kernel", "sendfile_past", "copies no byte, and blocks nothing"),
        ],
        "finish": [
            Step("ftpdata.transfers._outgoing", "Outgoing.finish", "the end mark, if MODE has one"),
            Step("ftpdata.connection.protocol", "DTP.finish", "sends the end of file"),
        ],
        "judge": [
            Step(
                "ftpdata.connection._delivery_watch",
                "DeliveryWatch.judge",
                "asks the kernel what is acknowledged",
            ),
            Step("ftpdata.connection._delivery", "Delivery.check", "decides: has the peer all?"),
        ],
        "report": [
            Step("ftpdata.transfers._report", "Report.result", "bytes, seconds, how it ended"),
            *TELL,
        ],
    },
    "STOR, an upload": {
        "decide": [
            FIND_COMMAND,
            Step(COMMANDS, "store", "a new file, the rest of one, or in place"),
        ],
        "look": [
            Step("ftpdata.files.target", "FileTarget.open", "makes a hidden file, or answers 553"),
            TAKE,
        ],
        "enter": [
            Step("ftpdata.transfers.receiving", "receive_file", "gets the endpoint and the target"),
            *CHECK,
        ],
        "open": OPEN,
        "move": [
            Step("ftpdata.transfers._incoming", "Incoming.next", "asks for more, and decodes it"),
            Step("ftpdata.connection._intake", "Intake.deliver", "hands on what has arrived"),
            Step("ftpdata.transfers._splice", "splice_upload", "moves long files in the kernel"),
        ],
        "finish": [
            Step("ftpdata.connection.protocol", "DTP.eof_received", "was it cut, or is it all?"),
            Step("ftpdata.connection.protocol", "DTP.finish", "closes the connection"),
        ],
        "judge": [
            Step("ftpdata.transfers._judging", "judge", "asks whether it may be published"),
            Step("ftpdata.observers.contract", "Observer.before_publish", "may refuse it"),
            Step("ftpdata.files.target", "FileTarget.commit", "gives the file its name, at once"),
        ],
        "report": [
            Step("ftpdata.transfers._report", "Report.end", "bytes, seconds, how it ended"),
            *TELL,
        ],
    },
}
"""What happens in which phase of which command, in order."""

COLUMN, MARGIN = 470, 20
STEP, PHASE = 40, 22


def resolve(step: Step) -> object:
    """Return the function of a step; an error if there is none of this name."""

    found: object = importlib.import_module(step.module)
    for name in step.name.split("."):
        found = getattr(found, name)
    return found


def draw_life(*, has_links: bool = False) -> str:
    """Return the picture, as SVG."""

    phases = [*next(iter(LIVES.values()))]
    tops: dict[str, int] = {}
    height = 44
    for phase in phases:
        tops[phase] = height
        height += PHASE + STEP * max(len(life[phase]) for life in LIVES.values())

    title = "One transfer from the command to the reply"
    width = COLUMN * len(LIVES) + MARGIN * (len(LIVES) - 1)
    drawing = Drawing(title, width, height - 8, has_links=has_links)
    for number, (command, life) in enumerate(LIVES.items()):
        left = number * (COLUMN + MARGIN)
        drawing.text(left, 24, command, kind="name")
        for phase, steps in life.items():
            _draw_phase(drawing, left, tops[phase], phase, steps)
    return str(drawing)


def _draw_phase(drawing: Drawing, left: int, top: int, phase: str, steps: list[Step]) -> None:
    height = PHASE - 12 + STEP * len(steps)
    drawing.area("asyncio", left, top, COLUMN, height)
    drawing.text(left + 12, top + 22, phase, kind="name")
    for number, step in enumerate(steps):
        resolve(step)
        y = top + 8 + number * STEP
        drawing.begin_link(step.page)
        drawing.box(left + 78, y, COLUMN - 88, STEP - 6)
        drawing.text(left + 88, y + 14, step.name, kind="code")
        drawing.text(left + COLUMN - 18, y + 14, step.room, kind="faint", anchor="end")
        drawing.text(left + 88, y + 28, step.text, kind="faint")
        drawing.end_link(step.page)
