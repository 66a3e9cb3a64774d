"""What a client does while calls fail, what it sees, and what must be true then."""

from __future__ import annotations

import contextlib
import re
import select
import shutil
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

__all__ = ["SCENARIOS", "Client", "Lost", "Scenario", "Seen"]

PATIENCE = 8.0
"""Seconds after which something hangs. Every deadline of the server is two."""

SMALL = bytes(range(256)) * 12
LARGE = bytes(range(251)) * 2400
OLD = b"what was there before, and stays if an upload fails"
NEW = LARGE[:200_000]
HALF = len(NEW) // 2
ENTRIES = 30


class Lost(Exception):
    """The control connection has ended."""


def _forget_errors() -> None:
    """Let no error of one TLS connection be taken for one of the next that is read.

    OpenSSL keeps a list of errors for each thread, which Python does not look after: some failed
    handshakes leave one there, and the next read of a healthy connection raises it
    (python/cpython#148594). A call that fails for want of data empties the list.
    """

    idle = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(
        ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="idle"
    )
    with contextlib.suppress(ssl.SSLError, OSError):
        idle.do_handshake()


@attrs.define
class Seen:
    """What the client has seen of one transfer.

    Attributes:
        replies: The lines, those of the preparation included.
        data: What came over the data connection.
        end: How that ended: "clean", "cut" (by a reset, or without a close_notify), "none".
        is_lost: Whether the control connection was lost.
    """

    replies: list[str] = attrs.field(factory=list)
    data: bytes = b""
    end: str = "none"
    is_lost: bool = False

    @property
    def code(self) -> str:
        """The code of the last reply."""

        return self.replies[-1][:3] if self.replies else ""

    @property
    def has_begun(self) -> bool:
        """Whether a 125 or 150 has come."""

        return any(reply[:1] == "1" for reply in self.replies)


class Client:
    """A scripted client: it does what its scenario says, and sees how connections end.

    Args:
        port: Of the server.
        authority: The certificate that it trusts, in a file; None for no TLS.
    """

    def __init__(self, port: int, authority: Path | None) -> None:
        self._context: ssl.SSLContext | None = None
        if authority is not None:
            self._context = ssl.create_default_context(cafile=str(authority))
        self._buffer = b""
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.reply()
            if self._context is not None:
                self.command("AUTH TLS")
                self.sock = self._protect(self.sock)
            self.command("USER ann")
            self.command("PASS secret")
            if self._context is not None:
                self.command("PBSZ 0")
                self.command("PROT P")
            assert self.command("TYPE I")[:3] == "200"
        except (OSError, Lost) as error:
            self.sock.close()
            raise Lost from error

    def close(self) -> None:
        """Close the control connection."""

        self.sock.close()

    # The control connection

    def reply(self) -> str:
        """Read a reply; of several lines the last one.

        Raises:
            Lost: The connection has ended.
            TimeoutError: None comes.
        """

        while True:
            while b"\r\n" not in self._buffer:
                try:
                    data = self.sock.recv(4096)
                except TimeoutError:
                    raise
                except OSError as error:
                    raise Lost from error
                if not data:
                    raise Lost
                self._buffer += data
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            if re.match(rb"\d\d\d ", line):
                return line.decode()

    def send(self, line: str) -> None:
        """Send a command."""

        try:
            self.sock.sendall(line.encode() + b"\r\n")
        except OSError as error:
            raise Lost from error

    def command(self, line: str) -> str:
        """Send a command; read one reply."""

        self.send(line)
        return self.reply()

    def quit(self) -> None:
        """Say QUIT, and wait until the server has closed."""

        with contextlib.suppress(OSError, Lost):
            self.send("QUIT")
            while True:
                self.reply()

    # The data connection

    def _protect(self, sock: socket.socket) -> socket.socket:
        if self._context is None:
            return sock
        session = self.sock.session if isinstance(self.sock, ssl.SSLSocket) else None
        try:
            return self._context.wrap_socket(
                sock, server_hostname="127.0.0.1", session=session, suppress_ragged_eofs=False
            )
        except OSError:
            _forget_errors()
            raise

    def transfer(
        self, command: str, move: Callable[[socket.socket], None], seen: Seen, *, opening: str
    ) -> None:
        """Open a data connection, say a command, move the data, and read the last reply."""

        try:
            if opening == "active":
                self._transfer_actively(command, move, seen)
            else:
                self._transfer_passively(command, move, seen, is_late=opening == "late")
        except Lost:
            seen.is_lost = True

    def _transfer_passively(
        self, command: str, move: Callable[[socket.socket], None], seen: Seen, *, is_late: bool
    ) -> None:
        seen.replies.append(self.command("EPSV"))
        if seen.code != "229":
            return

        port = int(seen.replies[-1].split("|||")[1].split("|")[0])
        sock: socket.socket | None = None
        if is_late:
            self.send(command)
            seen.replies.append(self.reply())
            if not seen.has_begun:
                return
        try:
            with contextlib.suppress(ConnectionError):
                sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
            if not is_late:
                self.send(command)
                seen.replies.append(self.reply())
            if seen.has_begun:
                if sock is not None:
                    sock = self._move(sock, move, seen)
                seen.replies.append(self.reply())
        except Lost:
            if sock is not None:
                # An end of file would be the end of a whole upload.
                _reset(sock)
            raise
        finally:
            if sock is not None:
                sock.close()

    def _transfer_actively(
        self, command: str, move: Callable[[socket.socket], None], seen: Seen
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            seen.replies.append(self.command(f"EPRT |1|127.0.0.1|{port}|"))
            if seen.code != "200":
                return
            seen.replies.append(self.command(command))
            if not seen.has_begun:
                return
            # Replies are read from the system: what TLS holds is rarely a whole reply.
            # Unless it came with the one before.
            patience = 0 if b"\r\n" in self._buffer else PATIENCE
            ready, _, _ = select.select([listener, self.sock], [], [], patience)
            if listener in ready:
                sock = listener.accept()[0]
                try:
                    sock = self._move(sock, move, seen)
                finally:
                    sock.close()
            seen.replies.append(self.reply())

    def _move(
        self, sock: socket.socket, move: Callable[[socket.socket], None], seen: Seen
    ) -> socket.socket:
        """Move the data; take note of how the connection ends."""

        sock.settimeout(PATIENCE)
        try:
            sock = self._protect(sock)
            move(sock)
        except TimeoutError:
            sock.close()
            raise
        except OSError:
            # An ssl.SSLError is one: an end without a close_notify, too.
            _forget_errors()
            seen.end = "cut"
        else:
            seen.end = "clean"
        return sock


def _reset(sock: socket.socket) -> None:
    if sock.fileno() < 0:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def download(client: Client, command: str, opening: str) -> Seen:
    """Receive until the end."""

    seen = Seen()

    def receive(sock: socket.socket) -> None:
        while chunk := sock.recv(65536):
            seen.data += chunk

    client.transfer(command, receive, seen, opening=opening)
    return seen


def upload(
    client: Client, command: str, data: bytes, opening: str, *, cut_in: Path | None = None
) -> Seen:
    """Send, then end: cleanly, or by a reset once some of it is hidden in a directory."""

    seen = Seen()

    def send(sock: socket.socket) -> None:
        sock.sendall(data)
        if cut_in is not None:
            # A reset takes what was not read by then with it.
            until = time.monotonic() + 1
            while not has_hidden_bytes(cut_in) and time.monotonic() < until:
                time.sleep(0.001)
            _reset(sock)
        elif isinstance(sock, ssl.SSLSocket):
            sock.unwrap()
        else:
            sock.shutdown(socket.SHUT_WR)

    client.transfer(command, send, seen, opening=opening)
    return seen


def has_hidden_bytes(directory: Path) -> bool:
    """Whether a hidden file has something in it."""

    with contextlib.suppress(FileNotFoundError):
        return any(path.stat().st_size for path in directory.glob(".*") if path.is_file())
    return False


# Scenarios


@attrs.frozen
class Scenario:
    """What is done, to what.

    Attributes:
        name: Its name.
        run: Does it; the directory is that of the server.
        is_true: Whether what a success promises is so.
        is_harmless: Whether what a failure leaves is right.
        opening: passive, late (the command first), active, pooled, relay, or arrival.
        uploads: What becomes of uploads that are cut.
        prepare: Done before, without faults.
        is_failure: Whether it ends with an error in any case.
        may_leave_part: Whether a part may be left.
    """

    name: str
    run: Callable[[Client, Path], Seen]
    is_true: Callable[[Seen, Path], bool]
    is_harmless: Callable[[Path], bool] = lambda _: True
    opening: str = "passive"
    uploads: str = "atomic"
    prepare: Callable[[Client, Path], None] = lambda *_: None
    is_failure: bool = False
    may_leave_part: bool = False

    @property
    def stores(self) -> bool:
        """Whether the client sends what is stored."""

        return self.name.partition("-")[0] in ("stor", "appe", "resume")

    @property
    def is_download(self) -> bool:
        """Whether the client receives."""

        return self.name.partition("-")[0] in ("retr", "list", "mlsd", "relay")


def make_files(directory: Path) -> None:
    """Make what the server has."""

    (directory / "sub").mkdir()
    for number in range(ENTRIES):
        (directory / "sub" / f"file{number}").write_bytes(bytes(number))
    (directory / "small").write_bytes(SMALL)
    (directory / "large").write_bytes(LARGE)
    renew(directory)


def renew(directory: Path) -> None:
    """Make the files that scenarios change as they were."""

    for path in directory.iterdir():
        if path.name == "new" or path.name.startswith("."):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    target = directory / "target"
    if not target.exists() or target.read_bytes() != OLD:
        target.write_bytes(OLD)


def _retr(name: str, content: bytes, opening: str = "passive") -> Scenario:
    path = "large" if content is LARGE else "small"
    return Scenario(
        name,
        lambda client, _: download(client, f"RETR {path}", opening),
        lambda seen, _: seen.data == content and seen.end == "clean",
        opening=opening,
    )


def _rest(client: Client, offset: int, run: Callable[[], Seen]) -> Seen:
    try:
        assert client.command(f"REST {offset}")[:3] == "350"
    except Lost:
        return Seen(is_lost=True)
    return run()


def _stor(
    name: str, path: str = "target", content: bytes = NEW, opening: str = "passive"
) -> Scenario:
    def is_harmless(directory: Path) -> bool:
        file = directory / path
        return file.read_bytes() == OLD if path == "target" else not file.exists()

    return Scenario(
        name,
        lambda client, _: upload(client, f"STOR {path}", content, opening),
        lambda _, directory: (directory / path).read_bytes() == content,
        is_harmless,
        opening=opening,
    )


def _is_prefix(directory: Path) -> bool:
    content = (directory / "target").read_bytes()
    return content[: len(OLD)] == OLD and (OLD + NEW).startswith(content)


def _is_overwritten(directory: Path) -> bool:
    content = (directory / "target").read_bytes()
    whole = OLD[:10] + NEW
    same = next((at for at in range(len(content)) if content[at] != whole[at]), len(content))
    return same >= 10 and content[same:] == OLD[same:]


def _lists(seen: Seen, _: Path) -> bool:
    lines = seen.data.decode().splitlines()
    names = {f"file{number}" for number in range(ENTRIES)}
    listed = {line.rpartition(" ")[2] for line in lines}
    # MLSD has the directory itself, and the one above, too.
    return seen.end == "clean" and listed - {"sub", "/", "/sub", ".", ".."} == names


def _leave_part(name: str) -> Callable[[Client, Path], None]:
    def cut(client: Client, directory: Path) -> None:
        seen = upload(client, f"STOR {name}", NEW[:HALF], "passive", cut_in=directory)
        assert seen.code == "426", seen
        (part,) = directory.glob(".ftpdata-part.*")
        # What the reset has thrown away is not there.
        part.write_bytes(NEW[:HALF])

    return cut


def _resume(client: Client, _: Path) -> Seen:
    try:
        reply = client.command("SIZE new")
    except Lost:
        return Seen(is_lost=True)
    if reply[:3] != "213":
        return Seen([reply])
    size = int(reply.split()[1])
    return _rest(client, size, lambda: upload(client, "STOR new", NEW[size:], "passive"))


def _arrive(client: Client, _: Path) -> Seen:
    """Another client comes while the first one says nothing."""

    seen = Seen()
    context = client._context
    port = client.sock.getpeername()[1]
    other: Client | None = None
    try:
        other = Client.__new__(Client)
        other._context, other._buffer = context, b""
        other.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        seen.replies.append(other.reply())
        if context is not None:
            seen.replies.append(other.command("AUTH TLS"))
            if seen.code != "234":
                return seen
            other.sock = other._protect(other.sock)
        other.command("USER ann")
        seen.replies.append(other.command("PASS secret"))
    except (Lost, OSError) as error:
        if isinstance(error, TimeoutError):
            raise
        seen.is_lost = True
    finally:
        if other is not None:
            other.close()
    return seen


def _relays() -> Iterator[Scenario]:
    yield Scenario(
        "relay",
        lambda *_: Seen(),  # see `torture`: it is no transfer of the server's
        lambda seen, _: seen.data == LARGE and seen.end == "clean",
        opening="relay",
    )


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        _retr("retr-small", SMALL),
        _retr("retr-large", LARGE),
        _retr("retr-late", SMALL, "late"),
        _retr("retr-large-late", LARGE, "late"),
        _retr("retr-pooled", SMALL, "pooled"),
        _retr("retr-active", SMALL, "active"),
        _retr("retr-large-active", LARGE, "active"),
        _stor("stor"),
        _stor("stor-new", "new"),
        _stor("stor-small", "target", SMALL),
        _stor("stor-late", opening="late"),
        _stor("stor-pooled", opening="pooled"),
        _stor("stor-active", opening="active"),
        Scenario(
            "appe",
            lambda client, _: upload(client, "APPE target", NEW, "passive"),
            lambda _, directory: (directory / "target").read_bytes() == OLD + NEW,
            _is_prefix,
        ),
        Scenario(
            "retr-rest",
            lambda client, _: _rest(
                client, 1000, lambda: download(client, "RETR large", "passive")
            ),
            lambda seen, _: seen.data == LARGE[1000:] and seen.end == "clean",
        ),
        Scenario(
            "stor-rest",
            lambda client, _: _rest(
                client, 10, lambda: upload(client, "STOR target", NEW, "passive")
            ),
            lambda _, directory: (directory / "target").read_bytes() == OLD[:10] + NEW,
            _is_overwritten,
        ),
        Scenario(
            "resume",
            _resume,
            lambda _, directory: (directory / "new").read_bytes() == NEW,
            lambda directory: not (directory / "new").exists(),
            uploads="resumable",
            prepare=_leave_part("new"),
            may_leave_part=True,
        ),
        Scenario(
            "resume-replace",
            lambda client, _: _rest(
                client, HALF, lambda: upload(client, "STOR target", NEW[HALF:], "passive")
            ),
            lambda _, directory: (directory / "target").read_bytes() == NEW,
            lambda directory: (directory / "target").read_bytes() == OLD,
            uploads="resumable",
            prepare=_leave_part("target"),
            may_leave_part=True,
        ),
        Scenario(
            "stor-cut",
            lambda client, directory: upload(
                client, "STOR target", NEW[:HALF], "passive", cut_in=directory
            ),
            lambda *_: False,
            lambda directory: (directory / "target").read_bytes() == OLD,
            uploads="resumable",
            is_failure=True,
            may_leave_part=True,
        ),
        Scenario("list", lambda client, _: download(client, "LIST sub", "passive"), _lists),
        Scenario("mlsd", lambda client, _: download(client, "MLSD sub", "passive"), _lists),
        Scenario("arrival", _arrive, lambda seen, _: seen.code == "230", opening="arrival"),
        *_relays(),
    )
}
