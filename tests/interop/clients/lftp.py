"""lftp."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.interop.clients.base import Program, names_of
from tests.interop.served import Site
from tests.interop.ways import Abort, Capability, Get, Listing, Protection, Put, Step, Way

__all__ = ["Lftp"]


class Lftp(Program):
    """The program runs a script of its commands."""

    name = "lftp"
    executable = "lftp"
    version_pattern = r"Version (\S+)"
    # It uses EPRT only for IPv6, and names "::" as the address to connect to.
    ways = frozenset(Way) - {Way.EPRT_4, Way.EPRT_6}
    rare = frozenset({Capability.DEFLATE, Capability.TLS_DEFLATE})
    protections: ClassVar = dict.fromkeys(Protection, True)

    def _do(self, site: Site, steps: Sequence[Step]) -> list[list[bytes]]:
        listings = [step for step in steps if isinstance(step, Listing)]
        commands = [
            b"set cmd:fail-exit yes",
            b"set net:max-retries 1",
            b"set net:reconnect-interval-base 1",
            b"set ftp:use-utf8 no",  # bytes, not text
            b"set ftp:use-abor yes",
            b"set ftp:use-site-utime no",
            b"set ftp:sync-mode on",
            b"set ftp:prefer-epsv %s" % (b"yes" if site.way.command == "EPSV" else b"no"),
            b"set ftp:passive-mode %s" % (b"yes" if site.way.is_passive else b"no"),
            b"set ftp:use-mlsd %s"
            % (b"yes" if any(step.command == "MLSD" for step in listings) else b"no"),
            *self._protection(site),
            f"open -u {site.user},{site.password} {site.url(b'')}".encode(),
            *(line for step in steps for line in (*_before(step), self._step(site, step))),
            b"bye",
            b"",
        ]
        script = site.scratch / "script"
        script.write_bytes(b"\n".join(commands))
        self.run_program(site, "--norc", "-f", script)
        return [names_of(*self._shown(site, step)) for step in listings]

    @staticmethod
    def _protection(site: Site) -> list[bytes]:
        if site.protection is None:
            return []

        return [
            b"set ftp:ssl-force yes",
            b"set ftp:ssl-protect-data yes",
            b"set ssl:ca-file %s" % _quoted(site.authority or b""),
            b'set ssl:priority "NORMAL:-VERS-ALL:+VERS-TLS%s"' % site.protection.version.encode(),
        ]

    def _step(self, site: Site, step: Step) -> bytes:
        remote = _quoted(step.remote)
        match step:
            case Get():
                return b"get %s -- %s -o %s" % (_options(step), remote, _quoted(step.local))
            case Put():
                return b"put %s -- %s -o %s" % (_options(step), _quoted(step.local), remote)
            case Abort():
                return b"cat %s | head -c 1 > %s" % (remote, _quoted(step.local))
            case Listing():
                # The names that it has parsed from LIST and MLSD. Its ls differs from what the
                # server sends, too: it rewrites a line with ";type=dir; " in the name.
                command = b"nlist" if step.command == "NLST" else b"cls -1 -a"
                output = _quoted(site.scratch / step.command)
                return b"%s %s > %s" % (command, remote, output)

    @staticmethod
    def _shown(site: Site, step: Listing) -> tuple[Listing, bytes]:
        return Listing(step.remote, "NLST"), (site.scratch / step.command).read_bytes()


def _before(step: Step) -> list[bytes]:
    return [line.encode() for line in step.before] if isinstance(step, Get | Put) else []


def _options(step: Get | Put) -> bytes:
    return (b"-c " if step.offset else b"") + (b"-a" if step.ascii else b"")


def _quoted(argument: bytes | Path) -> bytes:
    return b'"%s"' % os.fsencode(argument).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
