"""What the machine can do: an FTP server that does nothing but move bytes.

A process for each session, blocking calls, one listener for the life of a
session, no check of anything: not a server to use. The kernel copies
(`os.sendfile`, `os.splice`), or the loop around `recv_into` is as short as it
can be. What a real server reaches is read as a share of this.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

__all__ = ["serve"]

PIECE = 256 * 1024
"""Bytes of one read from a socket, and of one write to a TLS connection."""

PIPE_SIZE = 1024 * 1024
"""Bytes that fit into the pipe of a spliced upload: what any user may ask for."""

F_SETPIPE_SZ = 1031


def serve(
    port: int, directory: Path, certificate: Path | None, *, splice: bool, ready: Callable[[], None]
) -> None:
    """Serve one directory until the process is killed."""

    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    ready()
    while True:
        sock, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            with contextlib.suppress(OSError):
                _Session(sock, directory, context, splice=splice).run()
            os._exit(0)

        sock.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


class _Session:
    def __init__(
        self,
        sock: socket.socket,
        directory: Path,
        context: ssl.SSLContext | None,
        *,
        splice: bool,
    ) -> None:
        self.sock = sock
        self.directory = directory
        self.context = context
        self.splice = splice
        self.is_private = False
        self.listener: socket.socket | None = None
        self.restart = 0
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        self.reply("220 limit")
        while line := self.sock.recv(4096):
            command, _, argument = line.decode().strip().partition(" ")
            handler = getattr(self, f"do_{command.lower()}", None)
            if handler is not None:
                handler(argument)
            else:
                self.reply({"USER": "331 ok", "PASS": "230 ok"}.get(command, "200 ok"))

    def reply(self, line: str) -> None:
        self.sock.sendall(f"{line}\r\n".encode())

    def do_auth(self, _: str) -> None:
        assert self.context is not None
        self.reply("234 ok")
        self.sock = self.context.wrap_socket(self.sock, server_side=True)

    def do_prot(self, _: str) -> None:
        self.is_private = True
        self.reply("200 ok")

    def do_epsv(self, _: str) -> None:
        if self.listener is None:
            self.listener = socket.create_server(("127.0.0.1", 0))

        self.reply(f"229 ok (|||{self.listener.getsockname()[1]}|)")

    def accept(self) -> socket.socket:
        assert self.listener is not None
        data, _ = self.listener.accept()
        if self.is_private and self.context is not None:
            return self.context.wrap_socket(data, server_side=True)
        return data

    def do_retr(self, name: str) -> None:
        self.reply("150 ok")
        file = os.open(self.directory / name.lstrip("/"), os.O_RDONLY)
        with self.accept() as data:
            if isinstance(data, ssl.SSLSocket):
                self.send_encrypted(data, file)
            else:
                sent = 0
                while count := os.sendfile(data.fileno(), file, sent, 1 << 30):
                    sent += count

        os.close(file)
        self.reply("226 ok")

    def send_encrypted(self, data: ssl.SSLSocket, file: int) -> None:
        with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as pages, memoryview(pages) as view:
            for start in range(0, len(view), PIECE):
                data.sendall(view[start : start + PIECE])

        data.setblocking(False)
        with contextlib.suppress(OSError):
            data.unwrap()

    def do_stor(self, name: str) -> None:
        self.reply("150 ok")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        file = os.open(self.directory / name.lstrip("/"), flags, 0o644)
        with self.accept() as data:
            if self.splice and not self.is_private:
                self.splice_into(file, data)
            else:
                buffer = memoryview(bytearray(PIECE))
                while count := data.recv_into(buffer):
                    os.write(file, buffer[:count])

        os.close(file)
        self.reply("226 ok")

    def splice_into(self, file: int, data: socket.socket) -> None:
        import fcntl

        reading, writing = os.pipe()
        fcntl.fcntl(writing, F_SETPIPE_SZ, PIPE_SIZE)
        while count := os.splice(data.fileno(), writing, PIPE_SIZE):
            while count > 0:
                count -= os.splice(reading, file, count)

        os.close(reading)
        os.close(writing)
