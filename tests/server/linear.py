"""A checker of histories: is there an order of commands that explains what was seen? Pure.

The commands of several clients overlap. A server may carry them out in any order that
keeps to what the clients know: a command that was answered before another was sent comes
first. Here that order is searched for: one in which every reply was right when it was
made, and at whose end the files hold what they do hold (Wing and Gong, 1993).

An upload that replaces a file does so in one step. One that appends has two: it opens the
file, or makes it, and later adds its bytes to that file, whatever the file is called by then.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

__all__ = ["Command", "Kind", "Step", "explain"]


MOST_STATES = 300_000
"""States after which a search is given up: it takes minutes by then."""


class Kind(enum.Enum):
    """What a step does."""

    STORE = "store"
    BIND = "bind"
    APPEND = "append"
    DELETE = "delete"
    RENAME = "rename"
    EXISTS = "exists"
    MISSING = "missing"


@attrs.frozen
class Step:
    """One indivisible thing that a command does.

    Attributes:
        kind: What it does.
        name: To which name.
        data: The bytes that are stored or appended.
        new: The new name.
    """

    kind: Kind
    name: str
    data: bytes = b""
    new: str = ""


@attrs.frozen
class Command:
    """A command, and what its reply says of it.

    Attributes:
        text: For a person who reads the history.
        start: When it was sent.
        end: When its reply was read; infinite if nobody has read it.
        ways: What it may have done, each a sequence of steps.
    """

    text: str
    start: float
    end: float
    ways: tuple[tuple[Step, ...], ...]

    @classmethod
    def unanswered(cls, text: str, start: float, *ways: tuple[Step, ...]) -> Command:
        """Make one whose reply nobody has read."""

        return cls(text, start, math.inf, ways)


# What a file holds, as far as it matters: this many bytes of what a file of this number holds in
# the end; nothing yet; or what no file holds in the end, so that it must be gone by then.
_Held = tuple[int, int]
_EMPTY: _Held = (-1, 0)
_DOOMED: _Held = (-1, -1)


@attrs.frozen
class _Files:
    """The files at one moment. Equal if no later command could tell one from the other.

    Attributes:
        names: The place in `held` of each name that exists, sorted by name.
        bound: The same for each command that is about to append, sorted.
        held: What each file holds.
    """

    names: tuple[tuple[str, int], ...]
    bound: tuple[tuple[int, int], ...]
    held: tuple[_Held, ...]

    @classmethod
    def make(
        cls, names: Mapping[str, int], bound: Mapping[int, int], held: Sequence[_Held]
    ) -> _Files:
        """Number the files as they are met, without those that nothing refers to."""

        sorted_names, sorted_bound = sorted(names.items()), sorted(bound.items())
        order = [*dict.fromkeys(place for _, place in [*sorted_names, *sorted_bound])]
        number = {place: index for index, place in enumerate(order)}
        return cls(
            tuple((name, number[place]) for name, place in sorted_names),
            tuple((command, number[place]) for command, place in sorted_bound),
            tuple(held[place] for place in order),
        )


class _Ends:
    """What the files hold in the end, and where in it the bytes of each command are."""

    def __init__(
        self, commands: Sequence[Command], before: Mapping[str, bytes], after: Mapping[str, bytes]
    ) -> None:
        self.names = [*after]
        self.contents = [*after.values()]
        self.is_possible = True
        # For each file, where bytes begin, and whose they are: None for what was there before.
        self.parts: list[list[tuple[int, int | None]]] = []
        owners: dict[bytes, int | None] = {data: None for data in before.values() if data}
        for place, command in enumerate(commands):
            owners |= {step.data: place for way in command.ways for step in way if step.data}

        for content in self.contents:
            parts: list[tuple[int, int | None]] = []
            position = 0
            while position < len(content):
                found = [data for data in owners if content.startswith(data, position)]
                if not found:
                    # Nobody has sent these bytes, or they are mixed with others.
                    self.is_possible = False
                    break
                data = max(found, key=len)
                parts.append((position, owners[data]))
                position += len(data)
            self.parts.append(parts)

    def add(self, held: _Held, data: bytes) -> _Held:
        """Return what a file holds after bytes were appended to it."""

        if held == _DOOMED or not data:
            return held

        number, length = held
        numbers = range(len(self.contents)) if held == _EMPTY else (number,)
        for number in numbers:
            if self.contents[number].startswith(data, length):
                return number, length + len(data)
        return _DOOMED

    def are_reached(self, files: _Files) -> bool:
        """Whether this is the end."""

        if [name for name, _ in files.names] != sorted(self.names):
            return False

        held = {name: files.held[place] for name, place in files.names}
        return all(
            held[name] == ((number, len(content)) if content else _EMPTY)
            for number, (name, content) in enumerate(
                zip(self.names, self.contents, strict=True)
            )
        )

    def can_be_reached(self, files: _Files, may_add: Callable[[int], bool]) -> bool:
        """Whether what is missing can still be added, by the commands that may add something."""

        there = dict(held for held in files.held if held[0] >= 0)
        for number, parts in enumerate(self.parts):
            length = there.get(number, 0)
            for position, owner in parts:
                if position >= length and (owner is None or not may_add(owner)):
                    return False

        return True


# Which way a command has taken, and how many steps of it.
_Progress = tuple[tuple[int, int], ...]


class _Search:
    """A search in depth, which enters no state twice."""

    def __init__(
        self, commands: Sequence[Command], before: Mapping[str, bytes], after: Mapping[str, bytes]
    ) -> None:
        # What has done nothing fits anywhere. Of the others, those that were answered first
        # are tried first: most orders are like that.
        self._commands = sorted(
            (command for command in commands if any(command.ways)),
            key=lambda command: (command.end, command.start),
        )
        self._ends = _Ends(self._commands, before, after)
        self._seen: set[tuple[_Progress, _Files]] = set()
        names = {name: place for place, name in enumerate(before)}
        self._before = _Files.make(names, {}, [self._ends.add(_EMPTY, b) for b in before.values()])

    def run(self) -> list[str] | None:
        """Search; return the steps."""

        if not self._ends.is_possible:
            return None

        progress: _Progress = ((-1, 0),) * len(self._commands)
        if self._is_end(progress, self._before):
            return []

        path: list[str] = []
        stack = [self._moves(progress, self._before)]
        while stack:
            move = next(stack[-1], None)
            if move is None:
                stack.pop()
                if path:
                    path.pop()
                continue

            text, progress, files = move
            if (progress, files) in self._seen:
                continue

            self._seen.add((progress, files))
            if len(self._seen) > MOST_STATES:
                raise RuntimeError("the search was given up: use fewer commands")
            path.append(text)
            if self._is_end(progress, files):
                return path
            stack.append(self._moves(progress, files))

        return None

    def _is_end(self, progress: _Progress, files: _Files) -> bool:
        is_done = all(map(self._is_done, self._commands, progress))
        return is_done and self._ends.are_reached(files)

    def _is_done(self, command: Command, progress: tuple[int, int]) -> bool:
        way, steps = progress
        return way >= 0 and steps == len(command.ways[way])

    def _may_add(self, command: Command, progress: tuple[int, int]) -> bool:
        """Whether a command may still add its bytes to a file."""

        way, steps = progress
        ways = command.ways if way < 0 else (command.ways[way][steps:],)
        return any(step.data for steps_left in ways for step in steps_left)

    def _may_still_add(self, progress: _Progress, place: int) -> bool:
        return self._may_add(self._commands[place], progress[place])

    def _moves(
        self, progress: _Progress, files: _Files
    ) -> Iterator[tuple[str, _Progress, _Files]]:
        """Yield the states that the next step of some command leads to."""

        undone = [
            place
            for place, command in enumerate(self._commands)
            if not self._is_done(command, progress[place])
        ]
        first_end = min((self._commands[place].end for place in undone), default=math.inf)
        moves = []
        for place in undone:
            command = self._commands[place]
            if command.start > first_end:
                # Another one was answered before this one was sent.
                continue

            chosen, steps = progress[place]
            for way in range(len(command.ways)) if chosen < 0 else (chosen,):
                result: _Files | None = files
                taken = steps
                if command.ways[way]:
                    result = self._after(files, command.ways[way][steps], place)
                    taken = steps + 1
                if result is None:
                    continue

                now = (*progress[:place], (way, taken), *progress[place + 1 :])
                move = f"{command.text} [{way}:{taken}]", now, result
                moves.append(move)
                is_settled = chosen >= 0 or len(command.ways) == 1
                if is_settled and self._changes_nothing(files, command.ways[way][steps], place):
                    # If any order is right from here on, one that begins like this is.
                    moves = [move]
                    break
            else:
                continue
            break

        for text, now, result in moves:
            if self._ends.can_be_reached(result, functools.partial(self._may_still_add, now)):
                yield text, now, result

    def _changes_nothing(self, files: _Files, step: Step, command: int) -> bool:
        """Whether a step that is possible makes no difference, now or later."""

        if step.kind is Kind.APPEND:
            place = dict(files.bound)[command]
            return files.held[place] == _DOOMED or place not in dict(files.names).values()

        is_look = step.kind in (Kind.EXISTS, Kind.MISSING)
        return is_look or (step.kind is Kind.RENAME and step.name == step.new)

    def _after(self, files: _Files, step: Step, command: int) -> _Files | None:
        """Return the files after a step; None if it was not possible."""

        names, bound, held = dict(files.names), dict(files.bound), [*files.held]
        is_there = step.name in names
        match step.kind:
            case Kind.EXISTS:
                return files if is_there else None
            case Kind.MISSING:
                return None if is_there else files
            case Kind.DELETE | Kind.RENAME if not is_there:
                return None
            case Kind.DELETE:
                del names[step.name]
            case Kind.RENAME:
                names[step.new] = names.pop(step.name)
            case Kind.STORE:
                held.append(self._ends.add(_EMPTY, step.data))
                names[step.name] = len(held) - 1
            case Kind.BIND:
                if not is_there:
                    held.append(_EMPTY)
                    names[step.name] = len(held) - 1
                bound[command] = names[step.name]
            case Kind.APPEND:
                place = bound.pop(command)
                held[place] = self._ends.add(held[place], step.data)

        return _Files.make(names, bound, held)


def explain(
    commands: Sequence[Command], before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> list[str] | None:
    """Find an order of the commands that explains everything.

    Args:
        commands: What was said, and what the replies say was done. No two of them have
            the same bytes.
        before: What the files held before.
        after: What they hold now.

    Returns:
        The steps in that order; None if there is no such order.
    """

    return _Search(commands, before, after).run()
