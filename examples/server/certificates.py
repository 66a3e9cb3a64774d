"""The certificates of a server: renewed while it runs, and chosen by the name of a host.

A certificate is read when the server starts, again when its files change, and when the server is
told to (SIGHUP). What is new is tried first: a file that is half written, or whose key belongs to
another, is logged, and the certificate before it stays in use. A session, and a transfer that runs,
keep the certificate that their TLS began with; only new sessions see the new one.

What was read is kept in files without a name, in memory where the system has such: OpenSSL reads
nothing but files, each session has a context of its own, and the files that somebody is just
writing are none to make it of.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

import attrs

from ftpdata import ServerCertificate

__all__ = ["Certificate", "Certificates"]

logger = logging.getLogger("ftpdata.examples.server")

_Stamp = tuple[int, int, int, int]


@attrs.frozen
class _Copy:
    """What was read of a certificate.

    Attributes:
        descriptors: Of the copies.
        source: Reads them.
        donor: A context for those handshakes that begin with another certificate.
    """

    descriptors: list[int]
    source: ServerCertificate
    donor: ssl.SSLContext

    def rewind(self) -> None:
        """Let OpenSSL read from the beginning, also where opening it again does not."""

        for fd in self.descriptors:
            os.lseek(fd, 0, os.SEEK_SET)

    def close(self) -> None:
        for fd in self.descriptors:
            with contextlib.suppress(OSError):
                os.close(fd)


class Certificate:
    """A certificate and its key, as they were when both last made sense. Thread-safe; it blocks.

    Args:
        files: Where they are.
    """

    def __init__(self, files: ServerCertificate) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._copy: _Copy | None = None
        self._seen: list[_Stamp] | None = None

    @property
    def donor(self) -> ssl.SSLContext | None:
        """A context that has it, for a handshake that began with another; None if never read."""

        return None if self._copy is None else self._copy.donor

    def session_context(self) -> ssl.SSLContext:
        """Make the context of one control session; see `ftpdata.ServerCertificate`.

        Raises:
            OSError: It was never read, and cannot be.
        """

        with self._lock:
            if self._copy is None:
                self._read()
            assert self._copy is not None
            self._copy.rewind()
            return self._copy.source.session_context()

    def load_into(self, context: ssl.SSLContext) -> None:
        """Let a context have it, instead of the one that it has."""

        with self._lock:
            assert self._copy is not None
            source = self._copy.source
            self._copy.rewind()
            context.load_cert_chain(source.certificate, source.key, source.password)

    def renew(self, *, at_once: bool = False) -> None:
        """Read the files again if they have changed; if they make no sense, log that, once.

        Args:
            at_once: Whether to read and log in any case.
        """

        with self._lock:
            stamps = self._stamps()
            if stamps == self._seen and not at_once:
                return
            is_first = self._copy is None
            try:
                self._read()
            except OSError as error:
                # An ssl.SSLError is one.
                logger.warning(
                    "cannot use the certificate %s%s: %s",
                    self._files.certificate,
                    "" if is_first else ", and go on with the one before",
                    error,
                )
            else:
                if not is_first:
                    logger.info("there is a new certificate in %s", self._files.certificate)
            self._seen = stamps

    def close(self) -> None:
        """Forget it."""

        with self._lock:
            copy, self._copy = self._copy, None
            self._seen = None
            if copy is not None:
                copy.close()

    def _paths(self) -> list[Path]:
        files = self._files
        return [Path(files.certificate), Path(files.key or files.certificate)]

    def _stamps(self) -> list[_Stamp]:
        """Return what changes whenever a file does, as far as the system says."""

        stamps = []
        for path in self._paths():
            try:
                status = path.stat()
            except OSError as error:
                stamps.append((0, 0, 0, error.errno or 0))
            else:
                stamps.append(
                    (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
                )
        return stamps

    def _read(self) -> None:
        with contextlib.ExitStack() as stack:
            descriptors: list[int] = []
            for path in self._paths():
                descriptors.append(_copy_of(path.read_bytes()))
                stack.callback(os.close, descriptors[-1])
            names = [f"/dev/fd/{fd}" for fd in descriptors]
            source = attrs.evolve(self._files, certificate=names[0], key=names[1])
            new = _Copy(descriptors, source, source.session_context())
            stack.pop_all()
        before, self._copy = self._copy, new
        if before is not None:
            before.close()


class Certificates:
    """The certificates of a server: its own, and those of its hosts.

    Args:
        files: Where they are; None for none.
    """

    def __init__(self, files: Iterable[ServerCertificate | None]) -> None:
        self._all = {id(each): Certificate(each) for each in files if each is not None}

    def __bool__(self) -> bool:
        return bool(self._all)

    def of(self, files: ServerCertificate) -> Certificate:
        """Return one of them."""

        return self._all[id(files)]

    def renew(self, *, at_once: bool = False) -> None:
        """Read those again that have changed; see `Certificate.renew`. Blocks."""

        for each in self._all.values():
            each.renew(at_once=at_once)

    def close(self) -> None:
        """Forget all."""

        for each in self._all.values():
            each.close()


def _copy_of(data: bytes) -> int:
    """Return a descriptor of a file without a name that holds this."""

    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("certificate")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd
