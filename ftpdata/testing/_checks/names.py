"""Names of every byte: what STOR has made, listings show, and RETR, SIZE and DELE find."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import anyio.to_thread

from ..client import Failure, ScriptedClient
from ._asking import (
    UNKNOWN,
    last_names,
    make_directory,
    names_in,
    quoted_path,
    still_answers,
    try_download,
    try_upload,
)
from ._frame import Trial, check

__all__ = [
    "hostile_names_in_listings",
    "hostile_names_in_replies",
    "names_at_the_limit_of_length",
    "names_in_utf8",
    "names_like_options",
    "names_like_patterns",
    "names_not_in_utf8",
    "names_of_directories",
    "names_of_dots",
    "names_of_printable_ascii",
    "names_with_blanks",
    "names_with_control_characters",
    "patterns_name_nothing_else",
]


def _batches(values: Iterable[int], size: int) -> list[bytes]:
    """Return names that have the bytes, `size` in each, with a letter at both ends."""

    values = bytes(values)
    return [b"n" + values[i : i + size] + b"z" for i in range(0, len(values), size)]


async def _round_trip(
    trial: Trial, names: Sequence[bytes], *, must_be_taken: bool, is_shown: bool = True
) -> None:
    """Upload files, list them, fetch, measure and delete them by the names that NLST shows.

    Args:
        trial: The trial.
        names: The names.
        must_be_taken: Whether a name that is refused is worth a warning.
        is_shown: Whether the listing has to show the names as they are.
    """

    trial.writable()
    inner = trial.new_name("")
    async with trial.client() as client:
        # RFC 2640: names are UTF-8. Some servers want to be told.
        await client.command("OPTS UTF8 ON")
        await make_directory(client, inner)
        await client.expect(f"CWD {inner}", 2)
        taken = {}
        for name in names:
            content = b"content of " + name.hex().encode()
            reply = await try_upload(client, b"STOR " + name, content)
            if reply.kind == 2:
                taken[name] = content
            elif must_be_taken:
                trial.warn(f"{name!r} is refused: '{reply}'")
        if not taken:
            await client.expect("CDUP", 2)
            await client.expect(f"RMD {inner}", 2)
            trial.not_offered("no such name is taken")

        await _compare(trial, client, taken, is_shown=is_shown)
        await client.expect("CDUP", 2)
        await client.expect(f"RMD {inner}", 2)


def _first(names: Sequence[bytes]) -> str:
    if not names:
        return "nothing else"

    told = repr(names[0])
    return told if len(told) <= 70 else told[:67] + "..."


async def _compare(
    trial: Trial, client: ScriptedClient, taken: dict[bytes, bytes], *, is_shown: bool
) -> None:
    shown = sorted(taken)
    first, listed, last = await try_download(client, "NLST")
    if first.code not in UNKNOWN:
        client.check(last, 2)
        shown = names_in(listed)
        # Hidden names need not be shown.
        shown += [name for name in taken if name.startswith(b".") and name not in shown]
    if is_shown and sorted(shown) != sorted(taken):
        missing = [name for name in sorted(taken) if name not in shown]
        extra = [name for name in shown if name not in taken]
        trial.fail(f"NLST shows {_first(extra)} and not {_first(missing)}")
    if len(shown) != len(taken):
        trial.fail(f"NLST has {len(shown)} lines for {len(taken)} files")

    contents = set(taken.values())
    for name in shown:
        _, content, last = await try_download(client, b"RETR " + name)
        if last.kind != 2 or content not in contents:
            trial.fail(f"RETR {name!r}, as NLST shows it, sent {content[:20]!r} and '{last}'")
        contents.remove(content)
        size = await client.command(b"SIZE " + name)
        if size.code not in (*UNKNOWN, 550) and size.text != f"213 {len(content)}":
            trial.fail(f"SIZE {name!r} was answered by '{size}', of {len(content)} bytes")
        await client.expect(b"DELE " + name, 250)


@check("RFC 959 §5.3.2: pathname")
async def names_of_printable_ascii(trial: Trial) -> None:
    """Names with every printable ASCII character but the slash are made, listed and found."""

    await _round_trip(
        trial, _batches(sorted({*range(0x21, 0x7F)} - {ord("/")}), 8), must_be_taken=True
    )


@check("RFC 959 §5.3.2; CVE-2026-27699; a tab that is shown must be found")
async def names_with_control_characters(trial: Trial) -> None:
    """Names with control characters are refused, or listed on one line and found as shown."""

    await _round_trip(
        trial,
        [*_batches(sorted({*range(1, 0x20), 0x7F} - {0x0A, 0x0D}), 4), b"a\\011b"],
        must_be_taken=False,
        is_shown=False,
    )


@check("RFC 2640 §2.2, RFC 3659 §7.3")
async def names_in_utf8(trial: Trial) -> None:
    """Names in UTF-8 are made, listed and found, and are not normalised."""

    words = ("caf\u00e9", "cafe\u0301", "\u6f22\u5b57", "\U0001f600", "\u05d0", "\u00df\u1e9e")
    await _round_trip(trial, [word.encode() for word in words], must_be_taken=True)


@check("RFC 3659 §7.3: octets; aioftp ended the session, pyftpdlib could not find them")
async def names_not_in_utf8(trial: Trial) -> None:
    """Names with each byte from 128 to 254 are refused, or listed and found as they are."""

    await _round_trip(trial, _batches(range(0x80, 0xFF), 16), must_be_taken=False)


@check("RFC 959 §5.3.1: the argument ends with CRLF, not with a blank")
async def names_with_blanks(trial: Trial) -> None:
    """Names with blanks within, before and after them are made, listed and found."""

    names = (b"a b", b"a  b", b" before", b"behind ", b"  two  ", b"a -> b")
    await _round_trip(trial, names, must_be_taken=True)


@check("RFC 959 §4.1.3: an argument is a pathname")
async def names_like_options(trial: Trial) -> None:
    """Names that look like options are made, listed and found."""

    await _round_trip(trial, [b"-l", b"-la", b"-", b"--help", b"-rf x"], must_be_taken=True)


@check("RFC 959 §4.1.3: an argument is a pathname")
async def names_like_patterns(trial: Trial) -> None:
    """Names that look like patterns, home directories and escapes are made, listed and found."""

    await _round_trip(
        trial,
        [b"*", b"?", b"[a-z]", b"{a,b}", b"~", b"~root", b"$HOME", b"a\\b", b"%41"],
        must_be_taken=True,
    )


@check("RFC 959 §4.1.3; CWE-155")
async def patterns_name_nothing_else(trial: Trial) -> None:
    """RETR, DELE and RNFR of a pattern do not find the files that match it."""

    trial.writable()
    async with trial.client() as client:
        inner = trial.new_name("")
        await make_directory(client, inner)
        await client.expect(f"CWD {inner}", 2)
        await trial.put(client, "abc", b"content")
        for pattern in ("*", "a?c", "[a]bc", "{abc,abd}", "ab*"):
            _, content, last = await try_download(client, f"RETR {pattern}")
            if last.kind == 2 or content:
                trial.fail(f"RETR {pattern} of a directory with abc alone: '{last}'")
            for verb in ("DELE", "RNFR"):
                reply = await client.command(f"{verb} {pattern}")
                if reply.kind in (2, 3):
                    trial.fail(f"{verb} {pattern} of a directory with abc alone: '{reply}'")
        await client.expect("DELE abc", 250)
        await client.expect("CDUP", 2)
        await client.expect(f"RMD {inner}", 2)


@check("RFC 959 §5.4: 550, 553; CWE-22")
async def names_of_dots(trial: Trial) -> None:
    """`.` and `..` are directories to every command, and names with more dots are names."""

    await _round_trip(trial, [b"...", b"..a", b"a.", b"a..b"], must_be_taken=True)
    async with trial.client() as client:
        inner = trial.new_name("")
        await make_directory(client, inner)
        await client.expect(f"CWD {inner}", 2)
        await trial.put(client, "file", b"content")
        for line in (
            *("DELE .", "DELE ..", "RMD ..", "RMD ."),
            *("STOR .", "STOR ..", "RETR .", "RETR .."),
        ):
            if line[:4] == "STOR":
                reply = await try_upload(client, line, b"content")
            elif line[:4] == "RETR":
                _, _, reply = await try_download(client, line)
            else:
                reply = await client.command(line)
            if reply.kind == 2:
                trial.fail(f"{line} was answered by '{reply}'")
        await client.expect("DELE file", 250)
        await client.expect("CDUP", 2)
        await client.expect(f"RMD {inner}", 2)


@check("POSIX NAME_MAX; RFC 959 §5.4: 553")
async def names_at_the_limit_of_length(trial: Trial) -> None:
    """A name of 255 bytes is made and found, a longer one is refused and not cut off."""

    await _round_trip(trial, [b"x" * 255, b"y" * 254], must_be_taken=True)
    async with trial.client() as client:
        reply = await try_upload(client, b"STOR " + b"z" * 256, b"content")
        if reply.kind == 2:
            if b"z" * 256 not in await last_names(client):
                trial.fail(f"an upload with a name of 256 bytes was answered by '{reply}'")
            await client.expect(b"DELE " + b"z" * 256, 250)
        await still_answers(client)


@check("RFC 959 §4.1.3, appendix II: the path that PWD tells is one for CWD")
async def names_of_directories(trial: Trial) -> None:
    """Directories with blanks, quotation marks, other bytes: CWD finds what PWD and MKD tell."""

    trial.writable()
    async with trial.client() as client:
        home = quoted_path(await client.expect("PWD", 257))
        for name in (
            " two  blanks ",
            'quo"ted',
            "caf\u00e9",
            "-x",
            "a'b",
            "x\udc80y",
            "#",
            "a;b=c;",
        ):
            made = await client.command(f"MKD {name}")
            if made.kind != 2:
                trial.warn(f"{name!a} is refused: '{made}'")
                continue
            await client.expect(f"CWD {name}", 2)
            told = quoted_path(await client.expect("PWD", 257))
            if told is None or told != f"{home}/{name}":
                trial.fail(f"in a directory {name!a}, PWD tells {told!a}")
            await client.expect("CWD /", 2)
            await client.expect(f"CWD {told}", 2)
            again = quoted_path(await client.expect("PWD", 257))
            trial.require(again == told, f"CWD {told!a} led to {again!a}")
            await client.expect("CDUP", 2)
            await client.expect(f"RMD {name}", 2)


_FORGED = b"-rw-r--r--   1 ftp      ftp             1 Jan  1  2001 forged"
_FORGED_FACTS = b"type=file;size=1;modify=20010101000000; forged"


def _make(directory: Path, names: Iterable[bytes]) -> None:
    directory.mkdir()
    os.chmod(directory, 0o777)  # noqa: PTH101, S103 - the server may be another user
    for name in names:
        (directory / os.fsdecode(name)).write_bytes(b"content")


@check("CVE-2026-27699, CVE-2014-4877; six of seven servers show the name as it is")
async def hostile_names_in_listings(trial: Trial) -> None:
    """A name with line ends makes no second line in a listing, and hides no other file."""

    inner = trial.new_name("")
    names = (
        b"a\n" + _FORGED, b"b\r\n" + _FORGED, b"c\r\n" + _FORGED_FACTS, b"d\r\nforged",
        b"e\nforged", b"f\rforged", b"honest",
    )  # fmt: skip
    await anyio.to_thread.run_sync(_make, trial.local() / inner, names)
    try:
        async with trial.client() as client:
            await client.expect(f"CWD {inner}", 2)
            for verb in ("LIST", "NLST", "MLSD"):
                first, listed, last = await try_download(client, verb)
                if first.code in UNKNOWN:
                    continue
                client.check(last, 2)
                lines = re.split(rb"\r\n|\n", listed)
                for line in lines:
                    if line in (b"forged", b"./forged", _FORGED, _FORGED_FACTS):
                        trial.fail(f"in {verb}, a name with a line end makes the line {line!r}")
                if not any(line.endswith(b"honest") for line in lines):
                    trial.fail(f"{verb} does not show the file beside a name with a line end")
    finally:
        await anyio.to_thread.run_sync(_unmake, trial.local() / inner)


@check("RFC 959 §4.2: a reply ends with its code; CWE-93")
async def hostile_names_in_replies(trial: Trial) -> None:
    """A name with line ends makes no second reply on the control connection (STAT)."""

    inner = trial.new_name("")
    names = [
        b"a\r\n%d End\r\n230 forged" % code if i else b"%d End" % code
        for code in (211, 212, 213) for i in (0, 1)
    ]  # fmt: skip
    await anyio.to_thread.run_sync(_make, trial.local() / inner, names)
    try:
        async with trial.client() as client:
            for line in (f"STAT {inner}", f"CWD {inner}", "STAT .", "MLST"):
                reply = await client.command(line)
                if reply.code in UNKNOWN:
                    continue
                try:
                    await still_answers(client)
                except Failure as error:
                    trial.fail(f"a name with a line end forges a reply: {line}, and {error}")
    finally:
        await anyio.to_thread.run_sync(_unmake, trial.local() / inner)


def _unmake(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
