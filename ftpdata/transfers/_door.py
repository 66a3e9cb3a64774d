"""Checks the arguments of transfers: those that make no sense are refused at the call.

A wrong type raises `TypeError`, a wrong value `BadArgument`, which is a `ValueError`; what a peer
may ask for and nobody here can do is `UnsupportedParameter`. All say what was expected and what
came instead. No byte has been moved by then, and the connection is aborted, so that the peer does
not wait in vain.
"""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import AsyncIterable, Callable, Iterable, Mapping

import anyio

from ..codecs.options import CodecOptions
from ..codecs.selection import check_supported
from ..connection.protocol import DTP
from ..deadlines import Deadlines
from ..digests import Digest
from ..errors import BadArgument, FTPDataError, error_for_peer
from ..files._names import PATH_TYPES
from ..files.parts import PartOwner
from ..files.target import FileTarget
from ..listing.table import ListingBlock
from ..opening.endpoint import Endpoint
from ..outcome import Direction, End
from ..parameters import TransferParameters
from ..throttle import TokenBucket
from ._opened import Connection, abort_connection, observed_of, report_on
from .reuse import ReusableConnection

__all__ = [
    "AtTheDoor",
    "check_arguments",
    "check_chunks",
    "check_lines",
    "check_records",
    "check_source",
    "check_target",
    "is_upload_target",
]

_TYPES: dict[str, type] = {
    "append": bool,
    "deadlines": Deadlines,
    "digest": str,
    "dir_fd": int,
    "limiter": anyio.CapacityLimiter,
    "options": CodecOptions,
    "parameters": TransferParameters,
    "resume": PartOwner,
    "throttle": TokenBucket,
}
_CALLABLES = frozenset({"formatter", "on_marker", "on_sent", "on_suspect", "progress"})
_NUMBERS = frozenset({"expected_size", "length", "offset", "size_limit"})
_NEVER_NONE = frozenset({"append", "deadlines", "offset", "options", "parameters"})

_CONNECTIONS = (DTP, Endpoint, ReusableConnection)
_TARGET_METHODS = ("write", "commit", "discard")


class AtTheDoor:
    """A context manager around the checks of a transfer's arguments.

    If they refuse one, the connections of the transfer are aborted.

    Args:
        direction: The direction of the bytes.
        connections: The connections that the bytes are to pass over.

    Raises:
        TypeError: One of the connections is not a connection; at its beginning.
    """

    def __init__(self, direction: Direction, *connections: object) -> None:
        self._direction = direction
        self._connections = connections

    def __enter__(self) -> None:
        for connection in self._connections:
            if not isinstance(connection, _CONNECTIONS):
                self._abort()
                raise _wrong("a DTP, an Endpoint or a ReusableConnection", connection)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, FTPDataError):
            report = report_on(observed_of(*self._known), self._direction)
            report.start()
            report.end(report.failure(error, 0))
        if isinstance(error, (TypeError, ValueError, FTPDataError)):
            self._abort()

    def _abort(self) -> None:
        for connection in self._known:
            abort_connection(connection, End.ABORTED, "the transfer was refused at its call")

    @property
    def _known(self) -> list[Connection]:
        return [each for each in self._connections if isinstance(each, _CONNECTIONS)]


def check_arguments(arguments: Mapping[str, object]) -> None:
    """Check arguments that several functions share, by their names.

    Args:
        arguments: All arguments of the call; others are ignored.

    Raises:
        TypeError: An argument has a wrong type.
        BadArgument: A number is negative. Reply 501.
        UnsupportedParameter: There is no such digest, or no codec for the parameters. Reply 504.
    """

    for name, value in arguments.items():
        if name in _CHECKS and (value is not None or name in _NEVER_NONE):
            _CHECKS[name](name, value)


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, int) or value is True or value is False:
        raise _wrong(f"a number of bytes as {name}", value)
    if value < 0:
        raise error_for_peer(BadArgument, f"expected {name} to be 0 or more, not {value}")


def _check_callable(name: str, value: object) -> None:
    if not callable(value):
        raise _wrong(f"a callable as {name}", value)


def _check_kind(name: str, value: object) -> None:
    kind = _TYPES[name]
    if value.__class__ is not kind and (not isinstance(value, kind) or value.__class__ is bool):
        raise _wrong(f"{kind.__name__} as {name}", value)

    if name == "parameters":
        assert isinstance(value, TransferParameters)
        check_supported(value)
    elif name == "digest":
        assert isinstance(value, str)
        Digest(value)
    elif name == "dir_fd":
        assert isinstance(value, int)
        if value < 0:
            raise BadArgument(f"expected a descriptor as {name}, not {value}")


_CHECKS: dict[str, Callable[[str, object], None]] = {
    **dict.fromkeys(_TYPES, _check_kind),
    **dict.fromkeys(_CALLABLES, _check_callable),
    **dict.fromkeys(_NUMBERS, _check_number),
}


def check_source(file: object) -> None:
    """Check the source of a download: a path, an open descriptor or a binary file object.

    Raises:
        TypeError: It is something else.
        BadArgument: It is closed, or not open for reading. Reply 501.
    """

    if isinstance(file, bool) or not isinstance(file, (int, *PATH_TYPES)):
        _check_file_object(file, "read", "readable")
    elif isinstance(file, int):
        _check_descriptor(file)


def check_target(
    target: object, *, offset: int, append: bool, resume: object | None = None
) -> None:
    """Check the target of an upload: a path, a binary file object or an `UploadTarget`.

    Raises:
        TypeError: It is something else, or lacks a method of the contract.
        BadArgument: It is closed, or not open for writing; or `offset` and `append`
            were both given; or `append` or `resume` was given for an open file; or a
            `ResumableTarget` does not stand at `offset`. Reply 501.
    """

    if append and offset:
        raise error_for_peer(BadArgument, f"expected an offset or append, not both: {offset}")
    if isinstance(target, PATH_TYPES):
        return
    if append:
        raise error_for_peer(
            BadArgument, "expected append with a path only: an open target knows its position"
        )
    if resume is not None:
        raise error_for_peer(
            BadArgument, "expected resume with a path only: an open target knows its owner"
        )
    if target.__class__ is FileTarget:
        return
    if is_upload_target(target):
        for name in _TARGET_METHODS:
            _check_target_method(target, name)
        if hasattr(target, "keep"):
            _check_resumable(target, offset)
        return

    _check_file_object(target, "write", "writable")


def is_upload_target(target: object) -> bool:
    """Return whether this is meant as an `UploadTarget`: it has `commit` or `discard`."""

    return hasattr(target, "commit") or hasattr(target, "discard")


def check_chunks(chunks: object) -> None:
    """Check the source of a stream: an asynchronous iterable of bytes.

    Raises:
        TypeError: It is something else.
    """

    if not isinstance(chunks, AsyncIterable):
        raise _wrong("an asynchronous iterable of bytes", chunks)


def check_records(records: object) -> None:
    """Check the source of records: an iterable of them, asynchronous or not.

    Raises:
        TypeError: It is something else; bytes would be an iterable of numbers.
    """

    if isinstance(records, str | bytes | bytearray | memoryview) or not isinstance(
        records, AsyncIterable | Iterable
    ):
        raise _wrong("an iterable of records, each of bytes", records)


def check_lines(lines: object) -> None:
    """Check the source of a listing: a `ListingBlock`, or an iterable of lines or entries.

    Raises:
        TypeError: It is something else, or a single line.
    """

    if isinstance(lines, ListingBlock):
        return
    if isinstance(lines, (str, bytes)) or not isinstance(lines, (Iterable, AsyncIterable)):
        raise _wrong("a ListingBlock, or an iterable of lines or entries", lines)


def _check_descriptor(fd: int) -> None:
    try:
        # It needs no thread: no file system is asked.
        os.get_inheritable(fd)
    except (OSError, OverflowError):
        raise BadArgument(f"expected an open descriptor, not {fd}") from None


def _check_file_object(file: object, method: str, question: str) -> None:
    if not callable(getattr(file, method, None)) or isinstance(file, io.TextIOBase):
        raise _wrong(f"a path, or a binary file object that has {method}()", file)
    if getattr(file, "closed", False) is True:
        raise BadArgument(f"expected an open file object, not {file!r:.80}")

    can = getattr(file, question, None)
    if callable(can) and can() is False:
        raise BadArgument(f"expected a file object that is {question}, not {file!r:.80}")


def _check_target_method(target: object, name: str) -> None:
    method = getattr(target, name, None)
    if not callable(method):
        raise _wrong(f"an UploadTarget that has {name}()", target)

    function = inspect.unwrap(getattr(method, "__func__", method))
    if inspect.isfunction(function) and not inspect.iscoroutinefunction(function):
        raise _wrong(f"an UploadTarget whose {name}() is a coroutine function", target)


def _check_resumable(target: object, offset: int) -> None:
    _check_target_method(target, "keep")
    position = getattr(target, "position", None)
    if not isinstance(position, int):
        raise _wrong("a ResumableTarget whose position is a number of bytes", target)
    # A file that is appended to knows its position better than its host does.
    if position != offset and not isinstance(target, FileTarget):
        raise BadArgument(
            f"expected a target that goes on at offset {offset}, not at {position}"
        )


def _wrong(expected: str, value: object) -> TypeError:
    return TypeError(f"expected {expected}, not {value!r:.80}")
