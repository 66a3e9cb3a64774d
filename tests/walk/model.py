"""What a session's replies may be, and what the files hold after them. Pure.

`Model.meet` gets a command and its reply; it raises `Violation` if nothing allows that
answer, and otherwise is what the session is then. Transfers have two answers: `Model.begin` is
about the first and `Model.end` about the last.

The model is of the reference server with atomic uploads: a single client, and no links.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable

import attrs

from ftpdata import TransferParameters
from ftpdata.codecs import decoder_for, encoder_for

__all__ = ["ABORTABLE", "DOWNLOADS", "LISTINGS", "UPLOADS", "Model", "Transfer", "Violation"]

UPLOADS = frozenset({"STOR", "APPE", "STOU"})
LISTINGS = frozenset({"LIST", "NLST", "MLSD"})
DOWNLOADS = LISTINGS | {"RETR"}
ABORTABLE = UPLOADS | DOWNLOADS | {"SIZE", "HASH"}
KEEPS_RENAME = frozenset({"RNTO", "NOOP", "STAT"})
NEEDS_NO_LOGIN = frozenset({
    *("USER", "PASS", "REIN", "QUIT", "NOOP", "SYST", "FEAT", "OPTS", "HELP", "ABOR"),
    *("AUTH", "PBSZ", "PROT", "CCC"),
})
NEEDS_ARGUMENT = frozenset({
    *("USER", "CWD", "MKD", "RMD", "DELE", "RNFR", "RNTO", "SIZE", "MDTM", "HASH", "TYPE", "MODE"),
    *("STRU", "PORT", "EPRT", "REST", "ALLO", "RETR", "STOR", "APPE", "OPTS", "AUTH", "PBSZ"),
    *("PROT", "SITE"),
})
TAKES_NONE = frozenset({
    *("REIN", "QUIT", "SYST", "FEAT", "ABOR", "PWD", "CDUP", "PASV", "CCC"),
})
PROTECTION = frozenset({"AUTH", "PBSZ", "PROT", "CCC"})
MOST_UNKNOWN = 10
MOST_WRONG = 3
LONGEST_LINE = 4096

ASCII = TransferParameters().with_type("A")
"""What a session begins with (RFC 959 §5.1)."""

Codes = frozenset[int]


class Violation(AssertionError):
    """The server has said or done what nothing allows."""


def _size(content: bytes | None) -> str:
    return "None" if content is None else f"{len(content)} bytes"


def _sizes(files: dict[str, bytes]) -> str:
    return str({name: len(content) for name, content in files.items()})


def _codes(*codes: int) -> Codes:
    return frozenset(codes)


@attrs.define
class Transfer:
    """A transfer that the server has begun.

    Attributes:
        verb: Its command.
        path: The file; a directory for a listing.
        offset: Where in the file it begins.
        parameters: TYPE, STRU and MODE.
        sent: The bytes of the file that the client has sent so far.
        is_ended: Whether the client has sent all, and the end.
        is_reset: Whether the client has reset the data connection.
        is_aborted: Whether an ABOR follows.
        before: What the file held when it began; None if there was none.
    """

    verb: str
    path: str
    offset: int
    parameters: TransferParameters
    before: bytes | None = attrs.field(default=None, repr=_size)
    sent: bytes = attrs.field(default=b"", repr=_size)
    is_ended: bool = False
    is_reset: bool = False
    is_aborted: bool = False


@attrs.define
class Model:
    """A session, and the files of the store.

    Attributes:
        has_certificate: Whether the server knows TLS.
        files: What each file holds, by its path.
        directories: The directories.
    """

    has_certificate: bool
    files: dict[str, bytes] = attrs.field(repr=_sizes)
    directories: set[str]
    user: str | None = None
    pending_user: str | None = None
    wrong_passwords: int = 0
    unknown: int = 0
    cwd: str = "/"
    parameters: TransferParameters = attrs.field(factory=lambda: ASCII)
    offset: int = 0
    rename_from: str | None = None
    prepared: str | None = None
    epsv_only: bool = False
    speaks_tls: bool = False
    was_begun: bool = False
    has_buffer_size: bool = False
    is_private: bool = False
    is_over: bool = False

    # Paths

    def path(self, argument: str) -> str:
        """Return the absolute path of an argument."""

        return posixpath.normpath(posixpath.join(self.cwd, argument)).replace("//", "/")

    def exists(self, path: str) -> bool:
        """Whether there is a file or a directory."""

        return path in self.files or path in self.directories

    def can_make(self, path: str) -> bool:
        """Whether a file can be made, or replaced."""

        return posixpath.dirname(path) in self.directories and path not in self.directories

    def children(self, path: str) -> list[str]:
        """Return the names in a directory."""

        everything = [*self.files, *(self.directories - {"/"})]
        return sorted(
            posixpath.basename(entry) for entry in everything if posixpath.dirname(entry) == path
        )

    # Commands

    def forget(self) -> None:
        """Be as before the login."""

        self.user = self.pending_user = self.rename_from = None
        self.cwd, self.offset = "/", 0
        self.parameters = ASCII

    def expected(self, verb: str, argument: str) -> Codes:
        """Return what the first answer to a command may be; 150 stands for 125, too."""

        refusal = self._refusal(verb, argument)
        if refusal is not None:
            return refusal
        if verb in USUAL:
            return _codes(USUAL[verb])
        rule: Callable[[str], Codes] = getattr(self, f"_{verb.lower()}")
        return rule(argument)

    def _refusal(self, verb: str, argument: str) -> Codes | None:
        if len(f"{verb} {argument}") > LONGEST_LINE:
            return _codes(500)
        if verb == "ACCT" or (verb in PROTECTION and not self.has_certificate):
            return _codes(502)
        if verb not in KNOWN:
            return _codes(421 if self.unknown + 1 >= MOST_UNKNOWN else 500)
        if verb not in NEEDS_NO_LOGIN and self.user is None:
            return _codes(530)
        if (verb in NEEDS_ARGUMENT and not argument) or (verb in TAKES_NONE and argument):
            return _codes(501)
        return None

    def _pass(self, argument: str) -> Codes:
        if self.pending_user is None:
            return _codes(503)
        if self.pending_user == "ann" and argument == "secret":
            return _codes(230)
        return _codes(421 if self.wrong_passwords + 1 >= MOST_WRONG else 530)

    def _cwd(self, argument: str) -> Codes:
        return _codes(250 if self.path(argument) in self.directories else 550)

    def _cdup(self, _: str) -> Codes:
        return self._cwd("..")

    def _mkd(self, argument: str) -> Codes:
        path = self.path(argument)
        can = self.can_make(path) and not self.exists(path)
        return _codes(257 if can else 550)

    def _rmd(self, argument: str) -> Codes:
        path = self.path(argument)
        can = path in self.directories - {"/"} and not self.children(path)
        return _codes(250 if can else 550)

    def _dele(self, argument: str) -> Codes:
        return _codes(250 if self.path(argument) in self.files else 550)

    def _rnfr(self, argument: str) -> Codes:
        return _codes(350 if self.exists(self.path(argument)) else 550)

    def _rnto(self, argument: str) -> Codes:
        old, new = self.rename_from, self.path(argument)
        if old is None:
            return _codes(503)
        if not self.exists(old) or posixpath.dirname(new) not in self.directories:
            return _codes(553)
        if old == new:
            return _codes(250)
        if old in self.files:
            return _codes(553 if new in self.directories else 250)
        if old == "/" or new.startswith(old + "/") or new in self.files or self.children(new):
            return _codes(553)
        return _codes(250)

    def _size(self, argument: str) -> Codes:
        return _codes(213 if self.path(argument) in self.files else 550)

    def _hash(self, argument: str) -> Codes:
        path = self.path(argument)
        return _codes(553) if path in self.directories else self._size(argument)

    def _mdtm(self, argument: str) -> Codes:
        return _codes(213 if self.exists(self.path(argument)) else 550)

    def _mlst(self, argument: str) -> Codes:
        return _codes(250 if self.exists(self.path(argument)) else 550)

    def _stat(self, argument: str) -> Codes:
        if not argument:
            return _codes(211)
        path = self.path(argument)
        return _codes(212 if path in self.directories else 213 if path in self.files else 550)

    def _type(self, argument: str) -> Codes:
        return _codes(200) if argument in {"A", "I", "A N", "L 8", "E"} else _codes(501, 504)

    def _mode(self, argument: str) -> Codes:
        return _codes(200) if argument in {*"SBCZ"} else _codes(501, 504)

    def _stru(self, argument: str) -> Codes:
        return _codes(200) if argument in {*"FR"} else _codes(501, 504)

    def _port(self, argument: str) -> Codes:
        if argument == "nonsense":
            return _codes(501)
        if self.epsv_only:
            return _codes(503)
        # RFC 2577 §3: no port below 1024.
        is_ours = argument.startswith("127,0,0,1,") and not argument.endswith(",0,22")
        return _codes(200 if is_ours else 504)

    def _eprt(self, argument: str) -> Codes:
        if argument == "nonsense":
            return _codes(501)
        if argument.startswith("|2|"):
            return _codes(522)
        if self.epsv_only:
            return _codes(503)
        return _codes(200 if argument.startswith("|1|127.0.0.1|") else 504)

    def _pasv(self, _: str) -> Codes:
        return _codes(503 if self.epsv_only else 227)

    def _epsv(self, argument: str) -> Codes:
        if argument == "ALL":
            return _codes(200)
        return _codes(522 if argument == "2" else 229)

    def _can_restart(self) -> bool:
        if self.parameters.mode.value in {"B", "C"}:
            return True
        return self.parameters.type.value in {"I", "L"} and self.parameters.structure.value == "F"

    def _rest(self, argument: str) -> Codes:
        if not argument.isdecimal() or int(argument) >= 2**63:
            return _codes(501)
        return _codes(501 if int(argument) and not self._can_restart() else 350)

    def _allo(self, argument: str) -> Codes:
        if not argument.isdecimal():
            return _codes(501)
        return _codes(200 if len(argument) < 10 else 452)

    def _opts(self, argument: str) -> Codes:
        return _codes(501 if argument == "NONSENSE" else 200)

    def _site(self, argument: str) -> Codes:
        return _codes(214 if argument == "HELP" else 501)

    def _auth(self, argument: str) -> Codes:
        if argument != "TLS":
            return _codes(504)
        return _codes(534 if self.was_begun else 234)

    def _pbsz(self, argument: str) -> Codes:
        if not self.was_begun:
            return _codes(503)
        return _codes(200 if argument.isdecimal() else 501)

    def _prot(self, argument: str) -> Codes:
        if not self.has_buffer_size:
            return _codes(503)
        return _codes({"P": 200, "C": 200, "S": 536, "E": 536}.get(argument, 504))

    def _ccc(self, _: str) -> Codes:
        return _codes(200 if self.speaks_tls else 533)

    # Transfers: what is refused before the data connection is asked for

    def _transfer(self) -> Codes:
        return _codes(150) if self.prepared is not None else _codes(425)

    def _retr(self, argument: str) -> Codes:
        path = self.path(argument)
        if self.offset and not self._can_restart():
            return _codes(501)
        if path not in self.files:
            return _codes(550)
        return _codes(554) if self.offset > len(self.files[path]) else self._transfer()

    def _stor(self, argument: str) -> Codes:
        path = self.path(argument)
        if self.offset and not self._can_restart():
            return _codes(501)
        if not self.can_make(path) or (self.offset and path not in self.files):
            return _codes(553)
        if self.offset > len(self.files.get(path, b"")):
            return _codes(554)
        return self._transfer()

    def _appe(self, argument: str) -> Codes:
        if self.offset:
            return _codes(450)
        return self._transfer() if self.can_make(self.path(argument)) else _codes(553)

    def _stou(self, argument: str) -> Codes:
        if self.offset:
            return _codes(450)
        return self._transfer() if self.can_make(self.path(argument or "x")) else _codes(553)

    def _list(self, argument: str) -> Codes:
        return self._transfer() if self.exists(self.path(argument)) else _codes(550)

    _nlst = _list

    def _mlsd(self, argument: str) -> Codes:
        path = self.path(argument)
        if path in self.files:
            return _codes(501)
        return self._transfer() if path in self.directories else _codes(550)

    # What follows from an answer

    def meet(self, verb: str, argument: str, code: int, *, may_be_aborted: bool = False) -> None:
        """Take note of the first answer to a command.

        Args:
            verb: The command.
            argument: Its argument.
            code: The answer.
            may_be_aborted: Whether an ABOR follows, so that it may not have begun.

        Raises:
            Violation: Nothing allows this answer.
        """

        allowed = self.expected(verb, argument)
        if may_be_aborted and verb in ABORTABLE and self._refusal(verb, argument) is None:
            allowed |= {450}
        if (150 if code == 125 else code) not in allowed:
            raise Violation(f"{verb} {argument}: {code}, not one of {sorted(allowed)}\n{self}")

        refusal = self._refusal(verb, argument)
        if len(f"{verb} {argument}") <= LONGEST_LINE:
            if verb not in KEEPS_RENAME:
                self.rename_from = None
            if verb in KNOWN and refusal != _codes(502):
                self.unknown = 0
            elif refusal != _codes(502):
                self.unknown += 1
        if code == 421:
            self.is_over = True
        if refusal is None:
            if verb in UPLOADS | DOWNLOADS | {"HASH"} or (verb in ABORTABLE and code == 450):
                self.offset = 0
            effect = getattr(self, f"_after_{verb.lower()}", None)
            if effect is not None:
                effect(argument, code)

    def _after_user(self, argument: str, _: int) -> None:
        self.forget()
        self.pending_user = argument

    def _after_pass(self, _: str, code: int) -> None:
        if code == 230:
            self.user = self.pending_user
        elif code in {530, 421}:
            self.wrong_passwords += 1
        self.pending_user = None

    def _after_rein(self, _: str, __: int) -> None:
        self.forget()
        self.prepared, self.epsv_only = None, False
        self.speaks_tls = self.was_begun = self.has_buffer_size = self.is_private = False

    def _after_quit(self, _: str, __: int) -> None:
        self.is_over = True

    def _after_cwd(self, argument: str, code: int) -> None:
        if code == 250:
            self.cwd = self.path(argument)

    def _after_cdup(self, _: str, code: int) -> None:
        self._after_cwd("..", code)

    def _after_mkd(self, argument: str, code: int) -> None:
        if code == 257:
            self.directories.add(self.path(argument))

    def _after_rmd(self, argument: str, code: int) -> None:
        if code == 250:
            self.directories.discard(self.path(argument))

    def _after_dele(self, argument: str, code: int) -> None:
        if code == 250:
            del self.files[self.path(argument)]

    def _after_rnfr(self, argument: str, code: int) -> None:
        self.rename_from = self.path(argument) if code == 350 else None

    def _after_rnto(self, argument: str, code: int) -> None:
        old, new = self.rename_from, self.path(argument)
        self.rename_from = None
        if code != 250 or old is None or old == new:
            return
        if old in self.files:
            self.files[new] = self.files.pop(old)
            return
        self.directories.discard(new)
        for path in sorted(self.directories):
            if path == old or path.startswith(old + "/"):
                self.directories.discard(path)
                self.directories.add(new + path[len(old) :])
        for path in [path for path in self.files if path.startswith(old + "/")]:
            self.files[new + path[len(old) :]] = self.files.pop(path)

    def _after_type(self, argument: str, code: int) -> None:
        if code == 200:
            self.parameters = self.parameters.with_type(argument)

    def _after_mode(self, argument: str, code: int) -> None:
        if code == 200:
            self.parameters = self.parameters.with_mode(argument)

    def _after_stru(self, argument: str, code: int) -> None:
        if code == 200:
            self.parameters = self.parameters.with_structure(argument)

    def _after_port(self, _: str, code: int) -> None:
        if code == 200:
            self.prepared = "active"

    _after_eprt = _after_port

    def _after_pasv(self, _: str, code: int) -> None:
        if code in {227, 229}:
            self.prepared = "passive"

    def _after_epsv(self, argument: str, code: int) -> None:
        if code == 200:
            self.epsv_only = True
        self._after_pasv(argument, code)

    def _after_rest(self, argument: str, code: int) -> None:
        if code == 350:
            self.offset = int(argument)

    def _after_abor(self, _: str, __: int) -> None:
        self.prepared = None

    def _after_auth(self, _: str, code: int) -> None:
        if code == 234:
            self.forget()
            self.prepared = None
            self.speaks_tls = self.was_begun = True
            self.has_buffer_size = self.is_private = False

    def _after_pbsz(self, _: str, code: int) -> None:
        self.has_buffer_size = self.has_buffer_size or code == 200

    def _after_prot(self, argument: str, code: int) -> None:
        if code == 200:
            if self.is_private != (argument == "P"):
                self.prepared = None
            self.is_private = argument == "P"

    def _after_ccc(self, _: str, code: int) -> None:
        if code == 200:
            self.speaks_tls = False

    # Transfers

    def begin(self, verb: str, argument: str, offset: int) -> Transfer:
        """Return the transfer that a 125 or 150 has announced."""

        # STOU gives a name of its own, in the given directory, or in the current one.
        path = self.path(argument or "x") if verb == "STOU" else self.path(argument)
        return Transfer(verb, path, offset, self.parameters, before=self.files.get(path))

    def encoded(self, transfer: Transfer) -> bytes:
        """Return what RETR sends over the data connection."""

        encoder = encoder_for(transfer.parameters, offset=transfer.offset)
        content = self.files[transfer.path][transfer.offset :]
        return b"".join([*encoder.feed(content), *encoder.finish()])

    def check_download(self, transfer: Transfer, received: bytes) -> None:
        """Check what came over a data connection that ended cleanly.

        Raises:
            Violation: It is not the whole file, or not the whole listing.
        """

        parameters = transfer.parameters
        if transfer.verb in LISTINGS and parameters.type.value != "E":
            # A listing is text (RFC 959 §4.1.3).
            parameters = parameters.with_type("A")
        decoder = decoder_for(parameters, offset=transfer.offset)
        content = b"".join([*decoder.feed(received), *decoder.finish()])
        if transfer.verb == "RETR":
            expected = self.files[transfer.path][transfer.offset :]
            if content != expected:
                raise Violation(f"{transfer}: {len(content)} bytes, not these {len(expected)}")
            return

        names = [posixpath.basename(transfer.path)]
        if transfer.path in self.directories:
            names = self.children(transfer.path)
        lines = [line for line in content.decode().splitlines() if "type=cdir" not in line]
        told = sorted(line.split(" ")[-1].rpartition("/")[2] for line in lines)
        if told != names:
            raise Violation(f"{transfer}: {lines}, not {names}")

    def allowed_ends(self, transfer: Transfer) -> Codes:
        """Return what the last answer to a transfer may be."""

        if transfer.is_aborted or transfer.is_reset:
            # It may have been over by then: what the client has seen must then be whole.
            return _codes(226, 425, 426)
        return _codes(226)

    def end(
        self, transfer: Transfer, code: int, held: bytes | None, name: str | None = None
    ) -> None:
        """Take note of the last answer to a transfer.

        Args:
            transfer: The transfer.
            code: The answer.
            held: What the file holds now; None if there is none.
            name: What STOU has called it.

        Raises:
            Violation: Nothing allows the answer, or the file does not agree with it.
        """

        if code not in self.allowed_ends(transfer):
            raise Violation(f"{transfer}: {code}")
        self.prepared = None
        if transfer.verb not in UPLOADS:
            return

        if code == 226 and not transfer.is_ended:
            raise Violation(f"{transfer}: 226 before the end")
        if name is not None:
            transfer.path = posixpath.join(posixpath.dirname(transfer.path), name)
        self._check_file(transfer, held, is_done=code == 226)
        if held is None:
            self.files.pop(transfer.path, None)
        else:
            self.files[transfer.path] = held

    def _check_file(self, transfer: Transfer, held: bytes | None, *, is_done: bool) -> None:
        before, sent, offset = transfer.before or b"", transfer.sent, transfer.offset
        if transfer.verb == "APPE":
            if is_done:
                allowed = held == before + sent
            else:
                # What was appended stays.
                now = held or b""
                allowed = now.startswith(before) and (before + sent).startswith(now)
        elif offset:
            whole = before[:offset] + sent + before[offset + len(sent) :]
            allowed = held == whole if is_done else held is not None and all(
                byte in (whole[i : i + 1] + before[i : i + 1]) for i, byte in enumerate(held)
            )
        else:
            allowed = held == (sent if is_done else transfer.before)
        if not allowed:
            size = None if held is None else len(held)
            raise Violation(f"{transfer}: done={is_done}, and the file has {size} bytes")


USUAL = {
    "USER": 331, "REIN": 220, "QUIT": 221, "NOOP": 200, "SYST": 215, "FEAT": 211, "HELP": 214,
    "PWD": 257, "ABOR": 226,
}
"""What is always answered like this, to who may say it."""

KNOWN = NEEDS_NO_LOGIN | NEEDS_ARGUMENT | TAKES_NONE | ABORTABLE | {"EPSV", "STAT", "MLST", "NOOP"}
