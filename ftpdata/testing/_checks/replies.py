"""The replies of commands that move no file (RFC 959 §5.4, RFC 1123 §4.1, RFC 2389)."""

from __future__ import annotations

import re
import secrets

from ..client import Truncated
from ._asking import UNKNOWN, features, offered, quoted_path, still_answers
from ._frame import Trial, check

__all__ = [
    "account_command",
    "case_of_commands",
    "commands_before_login",
    "commands_without_their_argument",
    "directory_commands",
    "feat_format",
    "features_that_are_listed",
    "greeting_and_login",
    "help_command",
    "mistaken_user",
    "noop_command",
    "opts_command",
    "password_before_user",
    "quit_ends_the_session",
    "quotation_marks_in_paths",
    "reinitialization",
    "site_command",
    "stat_command",
    "syst_command",
    "unknown_commands",
    "wrong_password",
    "wrong_types",
]

REFUSED = (500, 501, 502, 503, 504, 530, 550, 553)
"""Replies of a command that is refused for good, whatever it is about."""


@check("RFC 959 §5.4")
async def greeting_and_login(trial: Trial) -> None:
    """The greeting is 220, and a user with a password gets 331 and 230 (or 230 at once)."""

    async with trial.greeted() as client:
        reply = await client.expect(f"USER {trial.server.user}", 230, 331)
        if reply.code == 331:
            await client.expect(f"PASS {trial.server.password}", 230, 202)


@check("RFC 959 §5.1: the minimum; aioftp has none")
async def noop_command(trial: Trial) -> None:
    """NOOP is answered by 200."""

    async with trial.client() as client:
        await client.expect("NOOP", 200)


@check("RFC 959 §5.4: each group of replies has 500 or 502 for it")
async def unknown_commands(trial: Trial) -> None:
    """A command that nobody knows is answered by 500 or 502, and the session goes on."""

    async with trial.client() as client:
        for line in ("XYZZY", "XYZZY with an argument", "R", "RETRIEVE file"):
            await client.expect(line, 500, 502)
        await still_answers(client)


@check("RFC 959 §4.1.1; §5.4: 530")
async def commands_before_login(trial: Trial) -> None:
    """Before the login, commands are refused: by 530, or as unknown or out of sequence."""

    async with trial.greeted() as client:
        for line in (
            *("PWD", "CWD /", "CDUP", "LIST", "NLST", "RETR file", "STOR file", "APPE file"),
            *("DELE file", "RMD directory", "MKD directory", "RNFR file", "SIZE file"),
            *("MDTM file", "MLST", "MLSD", "REST 1", "ALLO 1"),
        ):
            reply = await client.command(line)
            if reply.kind < 4:
                trial.fail(f"before the login, {line!r} was answered by '{reply}'")
            if reply.code not in (530, 500, 502, 503, 550):
                trial.warn(f"before the login, {line!r} was answered by '{reply}', not by 530")


@check("RFC 959 §5.4: 503")
async def password_before_user(trial: Trial) -> None:
    """PASS without USER before it lets nobody in."""

    async with trial.greeted() as client:
        await client.expect(f"PASS {trial.server.password}", 503, 530, 500, 501, 202, 332)
        await client.expect("PWD", 530, 503, *UNKNOWN)


@check("RFC 959 §5.4: 530; RFC 2577 §5")
async def wrong_password(trial: Trial) -> None:
    """A wrong password is answered by 530, and the user is not logged in."""

    async with trial.greeted() as client:
        reply = await client.command(f"USER {trial.server.user}")
        if reply.kind == 2:
            trial.not_offered("the user needs no password")
        reply = await client.command(f"PASS wrong-{secrets.token_hex(6)}")
        if reply.kind == 2 and trial.server.user in ("anonymous", "ftp"):
            trial.not_offered("the user may have any password")
        client.check(reply, 530, 421)
        if reply.code == 530:
            await client.expect("PWD", 530, 503, *UNKNOWN)


@check("RFC 959 §4.1.1: USER flushes what was supplied before")
async def mistaken_user(trial: Trial) -> None:
    """USER in a session answers 331 and ends the old login, or is refused and changes nothing."""

    async with trial.client() as client:
        reply = await client.command(f"USER nobody-{secrets.token_hex(3)}")
        client.check(reply, 331, 332, 530, 503, 500, 501, 421)
        if reply.kind == 3:
            told = await client.command("PWD")
            if told.kind == 2:
                trial.warn(f"after USER with another name ('{reply}') the old login still works")
        elif reply.code != 421:
            told = await client.command("PWD")
            client.check(told, 257, 530, 503)


@check("RFC 959 §4.1.1, §5.4")
async def quit_ends_the_session(trial: Trial) -> None:
    """QUIT is answered by 221, and then the server closes the control connection."""

    async with trial.client() as client:
        await client.expect("QUIT", 221)
        try:
            rest = await client.stream.receive()
        except (OSError, Truncated):
            # How TLS ends is another matter.
            rest = b""
        trial.require(not rest, f"behind the 221 came {rest[:60]!r}")


@check("RFC 959 §4.1.1: REIN")
async def reinitialization(trial: Trial) -> None:
    """REIN is answered by 220 (or 120 and 220), and then nobody is logged in."""

    async with trial.client() as client:
        reply = await offered(trial, client, "REIN")
        if client.check(reply, 120, 220).code == 120:
            await client.expect_reply(220)
        if client.stream.tls is None:
            # Otherwise the server ends TLS first (RFC 4217 §11).
            await client.expect("PWD", 530, 503)


@check("RFC 959 §5.4")
async def account_command(trial: Trial) -> None:
    """ACCT is answered by 230 or 202, or refused."""

    async with trial.client() as client:
        reply = await offered(trial, client, "ACCT account")
        client.check(reply, 230, 202, 530, 501, 503, 504)
        await still_answers(client)


@check("RFC 959 §5.3: upper and lower case are the same")
async def case_of_commands(trial: Trial) -> None:
    """The case of a command, and of the letter of a type, makes no difference."""

    async with trial.client() as client:
        for line in ("pwd", "Pwd", "pWd"):
            await client.expect(line, 257)
        for line in ("type i", "Type I", "TYPE i"):
            await client.expect(line, 200)


@check("RFC 959 §5.4, RFC 1123 §4.1.2.13")
async def syst_command(trial: Trial) -> None:
    """SYST is answered by 215 and the name of a system."""

    async with trial.client() as client:
        reply = await offered(trial, client, "SYST")
        client.check(reply, 215)
        trial.require(
            re.match(r"215 [A-Za-z0-9]", reply.lines[-1]), f"no system's name in '{reply}'"
        )


@check("RFC 959 §5.4")
async def help_command(trial: Trial) -> None:
    """HELP is answered by 211 or 214 and well-formed; for an unknown command it may be refused."""

    async with trial.client() as client:
        reply = await offered(trial, client, "HELP")
        client.check(reply, 211, 214)
        await still_answers(client)
        await client.expect("HELP RETR", 211, 214, 501, 502, 504)
        await still_answers(client)
        await client.expect("HELP XYZZY", 211, 214, 500, 501, 502, 504)
        await still_answers(client)


@check("RFC 959 §4.1.3, §5.4")
async def stat_command(trial: Trial) -> None:
    """STAT is answered by 211; for a path by 211, 212 or 213, or an error; and well-formed."""

    async with trial.client() as client:
        reply = await offered(trial, client, "STAT")
        client.check(reply, 211)
        await still_answers(client)
        await client.expect("STAT .", 211, 212, 213, 450, 550, 501, 502, 504)
        await still_answers(client)
        await client.expect("STAT missing", 211, 212, 213, 450, 550, 501, 502, 504)
        await still_answers(client)


@check("RFC 959 §5.4")
async def site_command(trial: Trial) -> None:
    """SITE with a command that nobody knows is refused, or superfluous (202)."""

    async with trial.client() as client:
        await client.expect("SITE XYZZY", 202, 500, 501, 502, 504, 530, 550)
        await still_answers(client)


@check("RFC 959 §5.4 and §4.1.1: CDUP is 200 by the one, 250 by the other")
async def directory_commands(trial: Trial) -> None:
    """MKD, PWD, CWD, CDUP, RMD have the replies 257, 257, 250, 250 or 200, 250."""

    path = trial.writable()
    name = trial.new_name("")
    async with trial.client() as client:
        reply = await client.expect(f"MKD {name}", 257)
        told = quoted_path(reply)
        if told is None or told.rpartition("/")[2] != name:
            trial.fail(f"'{reply}' does not tell the new directory's path in quotation marks")
        await client.expect(f"CWD {name}", 250, 200)
        reply = await client.expect("PWD", 257)
        told = quoted_path(reply)
        if told is None or not told.endswith(f"{path.rpartition('/')[2]}/{name}"):
            trial.fail(f"in {path}/{name}, PWD was answered by '{reply}'")
        await client.expect("CDUP", 200, 250)
        told = quoted_path(await client.expect("PWD", 257))
        if told is None or told.rpartition("/")[2] != path.rpartition("/")[2]:
            trial.fail(f"CDUP led from {path}/{name} to {told}")
        await client.expect(f"RMD {name}", 250)
        await client.expect(f"CWD {name}", 550)


@check("RFC 959 appendix II: quotation marks within the path are doubled")
async def quotation_marks_in_paths(trial: Trial) -> None:
    """A quotation mark in a directory's name is doubled in the replies to MKD and PWD."""

    trial.writable()
    name = f'a"b""c-{secrets.token_hex(3)}"'
    doubled = name.replace('"', '""')
    async with trial.client() as client:
        made = await client.command(f"MKD {name}")
        if made.kind == 5:
            trial.not_offered(f"no quotation marks in names: '{made}'")
        await client.expect(f"CWD {name}", 2)
        reply = await client.expect("PWD", 257)
        await client.expect("CDUP", 2)
        await client.expect(f"RMD {name}", 2)
        if quoted_path(reply) is None or f'{doubled}"' not in reply.text:
            trial.fail(f"within that directory, PWD was answered by '{reply}'")
        if f'{doubled}"' not in made.text:
            trial.fail(f"MKD was answered by '{made}'")


@check("RFC 959 §5.4: 501; Twisted said 550 internal server error")
async def commands_without_their_argument(trial: Trial) -> None:
    """A command that needs an argument is refused without one, by one reply."""

    async with trial.client() as client:
        for verb in (
            *("DELE", "RMD", "MKD", "RNFR", "TYPE", "STRU", "MODE", "PORT", "REST", "ALLO"),
            *("SIZE", "MDTM", "MFMT", "EPRT", "OPTS"),
        ):
            reply = await client.command(verb)
            if reply.code == 202 and verb == "ALLO":
                continue
            if reply.code not in REFUSED:
                trial.fail(f"{verb} without an argument was answered by '{reply}'")
        for verb in ("RETR", "STOR", "APPE"):
            reply = await client.command(verb)
            if reply.code not in (*REFUSED, 425, 450, 451):
                trial.fail(f"{verb} without an argument was answered by '{reply}'")
        await still_answers(client)


@check("RFC 959 §5.4: 501, 504; proftpd took TYPE A X, pure-ftpd TYPE IX")
async def wrong_types(trial: Trial) -> None:
    """Types, structures and modes that do not exist are answered by 501 or 504."""

    async with trial.client() as client:
        for line in ("TYPE X", "TYPE IX", "TYPE A X", "TYPE L 0", "STRU X", "MODE X"):
            await client.expect(line, 500, 501, 504)
        await still_answers(client)


@check("RFC 2389 §3.2")
async def feat_format(trial: Trial) -> None:
    """FEAT is answered by `211-`, a line for each feature after exactly one blank, and `211 `."""

    async with trial.client() as client:
        reply = await offered(trial, client, "FEAT")
        client.check(reply, 211)
        for line in reply.lines[1:-1]:
            if not re.match(r" [^ ]", line):
                trial.fail(f"{line!r} is no blank and a feature")
        if len(reply.lines) == 2:
            trial.fail("no line for any feature; a server without is to say 211 in one line")
        await still_answers(client)


@check("RFC 2389 §3.2: what it lists is there")
async def features_that_are_listed(trial: Trial) -> None:
    """The commands that FEAT lists are there."""

    async with trial.client() as client:
        listed = await features(trial, client)
        if "MLST" in listed and "TVFS" in listed:
            await client.expect("MLST .", 250, 4, 550)
        for feature, line in (
            *(("MLST", "MLST"), ("SIZE", "SIZE missing"), ("MDTM", "MDTM missing")),
            *(("REST", "REST 0"), ("EPSV", "EPSV"), ("MFMT", "MFMT 20200101000000 missing")),
            *(("EPRT", "EPRT |1|127.0.0.1|0|"), ("HASH", "HASH missing")),
            *(("XCRC", "XCRC missing"), ("XMD5", "XMD5 missing"), ("XSHA1", "XSHA1 missing")),
            *(("XSHA256", "XSHA256 missing"), ("PBSZ", "PBSZ 0"), ("PROT", "PROT")),
            *(("AUTH", "AUTH XYZZY"), ("LANG", "LANG"), ("UTF8", "OPTS UTF8 ON")),
            *(("AVBL", "AVBL"), ("HOST", "HOST")),
        ):
            if feature not in listed:
                continue
            reply = await client.command(line)
            if reply.code in UNKNOWN and not _is_known_otherwise(feature, line):
                trial.fail(f"FEAT lists {feature}, and {line!r} was answered by '{reply}'")
        if "REST" in listed and listed["REST"].strip().upper() == "STREAM":
            await client.expect("REST 1", 350)
            await client.expect("REST 0", 350)


def _is_known_otherwise(feature: str, line: str) -> bool:
    """Tell whether a command may say 500 for a bad argument, or because of the state."""

    return feature in ("AUTH", "PROT", "EPRT", "LANG") or line.startswith("OPTS")


@check("RFC 2389 §4")
async def opts_command(trial: Trial) -> None:
    """OPTS for a command without options is answered by 501 or 451, and the session goes on."""

    async with trial.client() as client:
        await features(trial, client)
        reply = await client.command("OPTS XYZZY on")
        if reply.code in UNKNOWN:
            trial.warn(f"a server with FEAT must have OPTS, which says '{reply}'")
        else:
            client.check(reply, 501, 451, 504, 550, 530)
        await still_answers(client)
