"""Clients that send files to a cluster and get them back, and note what they see."""

from __future__ import annotations

import contextlib
import ftplib
import io
import itertools
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import attrs

from tests.interop.hosts import PATIENCE, until
from tests.interop.served import PASSWORD, USER, clean_environment

__all__ = ["Load", "Transfer", "Upload"]

PROGRAMS = ("ftplib", "curl", "lftp", "ftplib", "curl", "lftp", "ftplib", "curl")

SIZES = (9 * 1024 * 1024 + 1, 40_000, 2_000_000)
"""Bytes of uploads; the first has two parts in an object store."""


@attrs.define
class Transfer:
    """What a client has tried.

    Attributes:
        name: The file.
        is_upload: Whether it was sent.
        content: What was to be sent.
        began_at: When it began.
        ended_at: When it was over.
        error: What the client has seen; None if it takes the transfer for whole.
        is_right: Of a download that the client takes for whole: whether that is so.
    """

    name: str
    is_upload: bool
    content: bytes = attrs.field(repr=False)
    began_at: float
    ended_at: float = 0.0
    error: str | None = None
    is_right: bool = True


class Failed(Exception):
    """A client has reported an error."""


@attrs.frozen
class Client:
    """One client, which logs in anew for each transfer.

    Attributes:
        program: Which.
        source: Its address.
        home: A directory of its own.
    """

    program: str
    source: str
    home: Path

    def put(self, name: str, content: bytes) -> None:
        """Send a file.

        Raises:
            Failed: The client says that this failed.
        """

        if self.program == "ftplib":
            with self._failing(), self._logged_in() as client:
                client.storbinary(f"STOR {name}", io.BytesIO(content))
            return

        local = self.home / name
        local.write_bytes(content)
        try:
            if self.program == "curl":
                self._curl("-T", str(local), f"ftp://127.0.0.1/{name}")
            else:
                self._lftp(f"put {local} -o {name}")
        finally:
            local.unlink()

    def get(self, name: str) -> bytes:
        """Receive a file.

        Raises:
            Failed: The client says that this failed.
        """

        if self.program == "ftplib":
            received: list[bytes] = []
            with self._failing(), self._logged_in() as client:
                client.retrbinary(f"RETR {name}", received.append)
            return b"".join(received)

        local = self.home / name
        try:
            if self.program == "curl":
                self._curl("-o", str(local), f"ftp://127.0.0.1/{name}")
            else:
                self._lftp(f"get {name} -o {local}")
            return local.read_bytes()
        finally:
            local.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, ftplib.Error) as error:
            raise Failed(repr(error)) from error

    @contextlib.contextmanager
    def _logged_in(self) -> Iterator[ftplib.FTP]:
        with contextlib.closing(ftplib.FTP(timeout=PATIENCE)) as client:
            client.connect("127.0.0.1", 21, source_address=(self.source, 0))
            client.login(USER, PASSWORD)
            yield client
            # What was transferred is whole, whatever becomes of the rest of the session.
            with contextlib.suppress(OSError, EOFError, ftplib.Error):
                client.quit()

    def _curl(self, *arguments: str) -> None:
        user = ("--user", f"{USER}:{PASSWORD}", "--interface", self.source)
        self._run("curl", "-sS", *user, "--max-time", str(PATIENCE), *arguments)

    def _lftp(self, command: str) -> None:
        self._run(
            "lftp",
            "-c",
            # No tries behind the scenes: what one session does is what counts here.
            "set net:max-retries 1; set cmd:fail-exit yes; set ftp:ssl-allow false; "
            f"set net:timeout {PATIENCE:.0f}; set net:socket-bind-ipv4 {self.source}; "
            f"open -u {USER},{PASSWORD} ftp://127.0.0.1; {command}",
        )

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command,
            env=clean_environment(self.home),
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(f"{command[0]} {done.returncode}: {done.stderr.strip()}")


class Load:
    """Clients that send files and get them back, until the end of the context.

    Args:
        tmp_path: Where they have their own files.

    Attributes:
        transfers: What each of them has tried, in order.
    """

    def __init__(self, tmp_path: Path) -> None:
        self.transfers: list[list[Transfer]] = [[] for _ in PROGRAMS]
        self._broken: list[BaseException] = []
        self._is_over = threading.Event()
        self._threads = []
        for number, program in enumerate(PROGRAMS):
            home = tmp_path / f"client{number}"
            home.mkdir()
            client = Client(program, f"127.0.0.{11 + number}", home)
            self._threads.append(threading.Thread(target=self._work, args=(number, client)))

    def __enter__(self) -> Self:
        # They are in the network of this thread.
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(3 * PATIENCE)

    @property
    def all(self) -> list[Transfer]:
        """All transfers that are over."""

        return list(itertools.chain.from_iterable(self.transfers))

    def wait_for_more(self, count: int = 2) -> None:
        """Wait until each client has done so many transfers that begin from now on."""

        now = time.monotonic()

        def is_done() -> bool:
            assert not self._broken, self._broken
            return all(
                sum(each.began_at >= now and each.error is None for each in list(own)) >= count
                for own in self.transfers
            )

        until(is_done, "transfers of all clients")

    def _work(self, number: int, client: Client) -> None:
        chance = random.Random(number)
        try:
            for count in itertools.count():
                if self._is_over.is_set():
                    return
                name = f"{client.program}{number}-{count}"
                content = chance.randbytes(SIZES[(count + number) % len(SIZES)])
                if self._try(number, client, name, content, is_upload=True):
                    self._try(number, client, name, content, is_upload=False)
        except BaseException as error:
            self._broken.append(error)
            raise

    def _try(
        self, number: int, client: Client, name: str, content: bytes, *, is_upload: bool
    ) -> bool:
        transfer = Transfer(name, is_upload, content, time.monotonic())
        try:
            if is_upload:
                client.put(name, content)
            else:
                transfer.is_right = client.get(name) == content
        except Failed as error:
            transfer.error = str(error)
        transfer.ended_at = time.monotonic()
        self.transfers[number].append(transfer)
        return transfer.error is None


class Upload(threading.Thread):
    """An upload that stops in the middle, until it may go on.

    Args:
        client: Who sends it, logged in.
        name: The file.
        content: What is sent.
        before: How much of it before the stop.

    Attributes:
        reply: What the server has said in the end.
        error: What the client has seen in its place.
        go_on: To be set so that it goes on.
    """

    def __init__(self, client: ftplib.FTP, name: str, content: bytes, before: int) -> None:
        super().__init__()
        self.reply = ""
        self.error: Exception | None = None
        self.go_on = threading.Event()
        self._client = client
        self._name = name
        self._content = content
        self._before = before

    def run(self) -> None:
        """Send it."""

        try:
            with self._client.transfercmd(f"STOR {self._name}") as data:
                data.sendall(self._content[: self._before])
                self.go_on.wait(PATIENCE)
                data.sendall(self._content[self._before :])
            self.reply = self._client.voidresp()
        except (OSError, EOFError, ftplib.Error) as error:
            self.error = error
