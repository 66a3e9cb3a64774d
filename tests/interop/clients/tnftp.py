"""tnftp, NetBSD's FTP client."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.interop.clients.base import PATIENCE, Program, names_of, wait_for_some
from tests.interop.served import Site
from tests.interop.ways import Abort, Capability, Get, Listing, Put, Step, Way

__all__ = ["Tnftp"]


class Tnftp(Program):
    """The program reads its commands from standard input, as they are typed."""

    name = "tnftp"
    executable = "tnftp"
    ways = frozenset(Way)
    rare = frozenset({Capability.LOCAL, Capability.BY_HAND})
    options: ClassVar[Sequence[str]] = ("-i", "-n", "-V")
    active_options: ClassVar[Sequence[str]] = ("-A",)
    # The command that switches EPSV and EPRT over IPv4 on and off, if there is one, and whether
    # they are on at first.
    switch = "epsv4"
    prefers_extended = True

    def _find_version(self) -> str | None:
        path = shutil.which(self.executable)
        if path is None:
            return None

        # It reports its version only to web servers.
        found = re.search(rb"\0(20\d{6})\0", Path(path).read_bytes())
        return found[1].decode() if found else "?"

    def _do(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]:
        mode = ("-p",) if site.way.is_passive else self.active_options
        options = (*mode, f"-{site.way.family}", *self.options)
        with self.start_program(site, *options) as process:
            assert process.stdin is not None
            for command in self._open(site):
                process.stdin.write(command + b"\n")
            for step in steps:
                for command in self._step(site, step):
                    process.stdin.write(command + b"\n")
                process.stdin.flush()
                if isinstance(step, Abort):
                    wait_for_some(step.local)
                    process.send_signal(signal.SIGINT)

            output, _ = process.communicate(b"bye\n", timeout=PATIENCE)

        assert process.returncode == 0, output
        return [
            # Listings go to a file, except those of MLSD, for which it has no option.
            names_of(step, output if step.command == "MLSD" else _read(site, step))
            for step in steps
            if isinstance(step, Listing)
        ]

    def _open(self, site: Site) -> list[bytes]:
        commands = [
            f"open {site.host} {site.port}",
            f"user {site.user} {site.password}",
            "binary",
        ]
        if self.switch and (site.way.command in {"EPSV", "EPRT"}) != self.prefers_extended:
            commands.insert(0, self.switch)
        return [command.encode() for command in commands]

    @staticmethod
    def _step(site: Site, step: Step) -> list[bytes]:
        remote = _quoted(step.remote)
        match step:
            case Get():
                verb = b"reget" if step.offset else b"get"
                commands = [b"%s %s %s" % (verb, remote, _quoted(step.local))]
            case Put():
                commands = [b"put %s %s" % (_quoted(step.local), remote)]
                if step.offset:
                    commands.insert(0, b"restart %d" % step.offset)
            case Abort():
                return [b"get %s %s" % (remote, _quoted(step.local))]
            case Listing():
                if step.command == "MLSD":
                    return [b"mlsd %s" % remote]

                verb = b"ls" if step.command == "LIST" else b"nlist"
                return [b"%s %s %s" % (verb, remote, _quoted(site.scratch / step.command))]

        before = [line.encode() for line in step.before]
        return [b"ascii", *commands, b"binary"] if step.ascii else [*before, *commands]


def _read(site: Site, step: Listing) -> bytes:
    return (site.scratch / step.command).read_bytes()


def _quoted(argument: bytes | Path) -> bytes:
    # A quotation mark cannot be written between quotation marks.
    return re.sub(rb'([\s"\\])', rb"\\\1", os.fsencode(argument))
