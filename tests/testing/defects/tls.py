"""TLS that protects from less than it seems to."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl

from ftpdata.testing import Outcome, Protection
from tests.testing.proofs import Defect
from tests.testing.scripted_server import Cut, Link, Session, saying

__all__ = ["DEFECTS"]

Row = functools.partial(Defect, protection=Protection.EXPLICIT)


class StaysPrivate(Session):
    """Says 200 to PROT C, and no more."""

    async def do_prot(self, argument: str) -> None:
        await super().do_prot(argument)
        self.is_private = True


class KeepsTheLogin(Session):
    """Knows after AUTH who has logged in before."""

    async def do_auth(self, argument: str) -> None:
        known = self.is_logged_in
        await super().do_auth(argument)
        self.is_logged_in = known


class KeepsClearText(Session):
    """Carries out in TLS what was sent in clear after AUTH."""

    def forget_clear_text(self) -> None:
        pass


class NeverResumes(Session):
    """Has a context for each data connection."""

    requires_resumption = False

    async def secure(self, link: Link) -> None:
        if self.is_private:
            await link.start_tls(self.server.make_context())


class ResumesOnce(Session):
    """Takes each session once, and has no new one."""

    is_used = False

    async def secure(self, link: Link) -> None:
        await super().secure(link)
        if self.is_used:
            raise Cut("that session was resumed before")
        self.is_used = True


class EndsUnresumedSessions(Session):
    """Ends the session of a client that resumes nothing."""

    async def secure(self, link: Link) -> None:
        try:
            await super().secure(link)
        except Cut:
            self.link.close()
            raise


class SharesItsContext(Session):
    """Has one context for all, and asks only whether a session was resumed."""

    async def start_control_tls(self) -> None:
        known: dict[str, ssl.SSLContext] = vars(self.server)
        self.context = known.setdefault("shared", self.server.make_context())
        await self.link.start_tls(self.context)


class IgnoresProt(Session):
    """Leaves data connections in clear, whatever was said."""

    async def secure(self, link: Link) -> None:
        pass


class SendsInClear(Session):
    """Leaves downloads in clear, whatever was said."""

    async def do_retr(self, argument: str) -> None:
        self.is_private = False
        await super().do_retr(argument)


class TakesBrowsers(Session):
    """Does not look at ALPN."""

    def refuse_browsers(self, link: Link) -> None:
        pass


class SpeaksHTTP(TakesBrowsers):
    """Agrees on HTTP."""

    async def start_control_tls(self) -> None:
        self.context = self.server.make_context()
        self.context.set_alpn_protocols(["http/1.1"])
        await self.link.start_tls(self.context)


class SaysNoGoodbye(Session):
    """Ends data connections in TLS with a FIN."""

    async def finish(self, link: Link) -> None:
        with contextlib.suppress(OSError):
            link.sock.shutdown(socket.SHUT_WR)
        link.close()


class TakesAnyEnd(Session):
    """Takes a FIN for the end of an upload in TLS."""

    async def receive_file(self, link: Link) -> bytes:
        data = bytearray()
        with contextlib.suppress(Cut):
            while piece := await link.receive():
                data += piece
        return bytes(data)


class KeepsWhatWasCut(TakesAnyEnd):
    """Says 426 of an upload that was cut, and publishes it."""

    def say(self, verb: str, line: str) -> str:
        return "426 Cut." if line[:3] == "226" and verb == "STOR" else line


class LeavesInSilence(Session):
    """Ends the control connection in TLS with a FIN."""

    async def do_quit(self, argument: str) -> None:
        self.is_over = True
        await self.reply("221 Goodbye.")


DEFECTS = [
    Row("protection-without-tls", saying("PBSZ", "200 Fine.", instead_of="503"), "'200 Fine.'"),
    Row("protection-without-tls", saying("PROT", "200 Fine.", instead_of="503"), "'200 Fine.'"),
    Row("protection-commands", saying("PROT", "200 Fine.", instead_of="504"), "'PROT S' was"),
    Row(
        *("protection-commands", saying("PROT", "200 Fine.", instead_of="503"), "without PBSZ"),
        *(Outcome.WARNING,),
    ),
    Row("protection-taken-back", StaysPrivate, "nothing comes in clear", patience=1.0),
    Row("auth-twice", saying("AUTH", "200 Fine.", instead_of="504"), "answered by '200 Fine.'"),
    Row("login-before-tls", KeepsTheLogin, "good in TLS: PWD was answered by '257"),
    Row("commands-injected-before-tls", KeepsClearText, "b'NOOP\\r\\n' was sent in clear"),
    Row("resumed-sessions", NeverResumes, "was not resumed by transfer 1", Outcome.WARNING),
    Row("resumed-sessions", ResumesOnce, "transfer 2 with TLS"),
    Row("sessions-that-are-not-resumed", EndsUnresumedSessions, "LIST"),
    Row("foreign-sessions", SharesItsContext, "of another control connection"),
    Row("clear-download-where-private", SendsInClear, "in clear after PROT P"),
    Row("clear-upload-where-private", IgnoresProt, "answered by '226"),
    Row(
        "foreign-application-protocols", TakesBrowsers, "a control and a data", Outcome.WARNING
    ),
    Row("foreign-application-protocols", SpeaksHTTP, "the server speaks http/1.1"),
    Row("close-notify-after-downloads", SaysNoGoodbye, "ended without close_notify"),
    Row("close-notify-after-uploads", SaysNoGoodbye, "not answered", Outcome.WARNING),
    Row("upload-without-close-notify", TakesAnyEnd, "that anybody may have cut"),
    Row("upload-without-close-notify", KeepsWhatWasCut, "of a cut upload", Outcome.WARNING),
    Row("handshake-that-fails", saying("LIST", "226 Fine.", instead_of="425"), "'226 Fine.'"),
    Row("quit-in-tls", LeavesInSilence, "without close_notify", Outcome.WARNING),
]
