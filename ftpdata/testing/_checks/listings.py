"""LIST, NLST, MLSD and MLST (RFC 959 §4.1.3, RFC 3659 §7)."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

import anyio.to_thread

from ...errors import InvalidData
from ...listing.entry import EntryType, ListingEntry
from ...listing.facts import Facts
from ...listing.formats import parse_list_line
from ...listing.mlsx import parse_mlsx_line
from ..client import ScriptedClient
from ._asking import UNKNOWN, features, make_directory, names_in, offered, try_download
from ._frame import Trial, check

__all__ = [
    "dangling_links",
    "dates_in_listings",
    "empty_directories",
    "file_that_vanishes",
    "line_ends_of_listings",
    "list_command",
    "list_of_a_file",
    "list_with_options",
    "listing_of_many",
    "mlsd_command",
    "mlsd_of_a_file",
    "mlsd_options",
    "mlst_command",
    "nlst_command",
    "nlst_of_a_directory",
    "nlst_of_a_file",
    "refused_listing_lets_go",
    "what_is_not_there",
]

MANY = 500
"""Entries of a large directory."""

FEWER = 150
"""Entries of one that is made by commands."""

VANISHING = 1500
"""Files of a directory in which half of them vanish: more than fits into the buffers."""


async def _entries(
    trial: Trial, client: ScriptedClient, line: str = "LIST"
) -> dict[bytes, ListingEntry]:
    """Return the entries of LIST by name, without `.` and `..`; it may be in any known format."""

    entries = {}
    for text in (await client.download(line)).split(b"\r\n"):
        try:
            entry = parse_list_line(text, now=time.time())
        except InvalidData:
            trial.fail(f"{line} has a line in no known format: {text[:90]!r}")
        if entry is not None and entry.wire_name not in (b".", b".."):
            entries[entry.wire_name] = entry
    return entries


async def _names(trial: Trial, client: ScriptedClient, line: str) -> bytes:
    """Return what NLST sends; the check is not offered where it is unknown."""

    first, listed, last = await try_download(client, line)
    if first.code in UNKNOWN:
        trial.not_offered(f"there is no NLST: '{first}'")
    client.check(last, 2)
    return listed


async def _facts(trial: Trial, client: ScriptedClient, line: str = "MLSD") -> dict[bytes, Facts]:
    """Return the facts of MLSD by name, without those of the directory and its parent."""

    await offered(trial, client, "MLST .")
    facts = {}
    for text in (await client.download(line)).split(b"\r\n"):
        try:
            parsed = parse_mlsx_line(text)
        except InvalidData:
            trial.fail(f"MLSD has a line that is not facts, a blank and a name: {text[:90]!r}")
        if parsed is not None:
            name, found = parsed
            if (found.type or "").lower() not in ("cdir", "pdir") and name not in (".", ".."):
                facts[name.encode("utf-8", "surrogateescape")] = found
    return facts


async def _populate(trial: Trial, client: ScriptedClient) -> str:
    """Make a directory with an empty file, a file and a directory; return its name."""

    trial.writable()
    inner = trial.new_name("")
    await make_directory(client, inner)
    await make_directory(client, f"{inner}/directory")
    await trial.put(client, f"{inner}/empty", b"")
    await trial.put(client, f"{inner}/file", b"x" * 12_345)
    return inner


async def _depopulate(client: ScriptedClient, inner: str) -> None:
    for line in (f"RMD {inner}/directory", f"DELE {inner}/empty", f"DELE {inner}/file"):
        await client.expect(line, 250)
    await client.expect(f"RMD {inner}", 250)


@check("RFC 959 §4.1.3; the formats are those of ftpdata.listing: ls -l, MS-DOS, EPLF")
async def list_command(trial: Trial) -> None:
    """LIST shows each file once, with its size and type, in a format that clients know."""

    async with trial.client() as client:
        inner = await _populate(trial, client)
        for line in (f"LIST {inner}", "LIST"):
            if line == "LIST":
                await client.expect(f"CWD {inner}", 2)
            entries = await _entries(trial, client, line)
            told = {name: (entry.type, entry.size) for name, entry in entries.items()}
            is_right = (
                sorted(told) == [b"directory", b"empty", b"file"]
                and told[b"empty"] == (EntryType.FILE, 0)
                and told[b"file"] == (EntryType.FILE, 12_345)
                and told[b"directory"][0] is EntryType.DIRECTORY
            )
            if not is_right:
                trial.fail(f"{line} tells {told} of a directory, an empty file, and 12,345 bytes")
        await client.expect("CDUP", 2)
        await _depopulate(client, inner)


@check("RFC 959 §4.1.3: a pathname that is a file")
async def list_of_a_file(trial: Trial) -> None:
    """LIST of a file shows that file."""

    async with trial.client() as client:
        name = trial.new_name()
        await trial.put(client, name, b"content")
        entries = await _entries(trial, client, f"LIST {name}")
        if [entry.rpartition(b"/")[2] for entry in entries] != [name.encode()]:
            trial.fail(f"LIST of a file shows {sorted(entries)}")


@check("RFC 959 §4.1.3: pathnames separated by CRLF, with no other information")
async def nlst_command(trial: Trial) -> None:
    """NLST shows each name on a line of its own, and nothing else."""

    async with trial.client() as client:
        inner = await _populate(trial, client)
        await client.expect(f"CWD {inner}", 2)
        listed = await _names(trial, client, "NLST")
        names = sorted(listed.removesuffix(b"\r\n").split(b"\r\n"))
        names = [name.removeprefix(b"./") for name in names if name not in (b".", b"..")]
        trial.require(
            names == [b"directory", b"empty", b"file"],
            f"NLST of a directory with directory, empty, file shows {names}",
        )
        await client.expect("CDUP", 2)
        await _depopulate(client, inner)


@check("RFC 959 §4.1.3; some show bare names, some with the directory, and both are usual")
async def nlst_of_a_directory(trial: Trial) -> None:
    """NLST of a named directory shows what is in it: names, or paths that begin with its own."""

    async with trial.client() as client:
        inner = await _populate(trial, client)
        listed = (await _names(trial, client, f"NLST {inner}")).removesuffix(b"\r\n")
        names = sorted(name for name in listed.split(b"\r\n") if name[-1:] != b".")
        wanted = [b"directory", b"empty", b"file"]
        start = inner.encode() + b"/"
        if names not in (wanted, [start + name for name in wanted]):
            trial.fail(f"NLST of a directory with directory, empty, file shows {names}")
        await _depopulate(client, inner)


@check("RFC 959 §4.1.3; Twisted #10919")
async def nlst_of_a_file(trial: Trial) -> None:
    """NLST of a file shows its name."""

    async with trial.client() as client:
        name = trial.new_name()
        await trial.put(client, name, b"content")
        first, listed, last = await try_download(client, f"NLST {name}")
        if first.code in UNKNOWN:
            trial.not_offered(f"there is no NLST: '{first}'")
        if names_in(listed) != [name.encode()]:
            # RFC 959 leaves it open, since a file is no group of files.
            trial.warn(f"NLST {name} shows {names_in(listed)}: '{last}'")


@check("RFC 3659 §7.2, §7.5; aioftp ended it with 200")
async def mlsd_command(trial: Trial) -> None:
    """MLSD shows each file with its type, size and time, and ends with 226 (or 250)."""

    async with trial.client() as client:
        await offered(trial, client, "MLST .")
        inner = await _populate(trial, client)
        facts = await _facts(trial, client, f"MLSD {inner}")
        types = {name: (told.type or "").lower() for name, told in facts.items()}
        if types != {b"directory": "dir", b"empty": "file", b"file": "file"}:
            trial.fail(f"MLSD tells the types {types}")
        sizes = facts[b"empty"].size, facts[b"file"].size
        if sizes not in ((0, 12_345), (None, None)):
            trial.fail(f"MLSD tells the sizes {sizes} of files of 0 and 12,345 bytes")
        modified = facts[b"file"].modify
        if modified is not None:
            reply = await client.command(f"MDTM {inner}/file")
            told_time = time.strftime("%Y%m%d%H%M%S", time.gmtime(modified))
            if reply.code == 213 and reply.text[4:18] != told_time:
                trial.fail(f"MLSD tells the time {told_time}, MDTM '{reply}'")
        _, _, last = await try_download(client, f"MLSD {inner}")
        client.check(last, 226, 250)
        await _depopulate(client, inner)


@check("RFC 3659 §7.2: one blank, the facts, one blank, the name; 250")
async def mlst_command(trial: Trial) -> None:
    """MLST is answered by `250-`, a line with the facts after one blank, and `250 `."""

    async with trial.client() as client:
        await offered(trial, client, "MLST .")
        name = trial.new_name()
        await trial.put(client, name, b"content")
        reply = await client.expect(f"MLST {name}", 250)
        lines = reply.lines[1:-1]
        if len(lines) != 1 or not re.match(r" [^ ]+; [^ ]|  [^ ]", lines[0]):
            trial.fail(f"MLST was answered by {reply.text!r}")
        try:
            parsed = parse_mlsx_line(lines[0].encode("utf-8", "surrogateescape"), is_reply=True)
        except InvalidData:
            trial.fail(f"the facts of MLST cannot be read: {lines[0]!r}")
        assert parsed is not None
        told, facts = parsed
        if told.rpartition("/")[2] != name:
            trial.fail(f"MLST {name} tells the name {told!r}")
        if facts.size not in (None, 7) or (facts.type or "file").lower() != "file":
            trial.fail(f"MLST of a file of 7 bytes tells {lines[0]!r}")
        await client.expect("MLST missing", 550, 450)


@check("RFC 3659 §7.2.1: 501")
async def mlsd_of_a_file(trial: Trial) -> None:
    """MLSD of a file is refused."""

    async with trial.client() as client:
        await offered(trial, client, "MLST .")
        name = trial.new_name()
        await trial.put(client, name, b"content")
        _, content, last = await try_download(client, f"MLSD {name}")
        if last.kind == 2:
            trial.fail(f"MLSD of a file sent {content[:60]!r} and '{last}'")


@check("RFC 3659 §7.9")
async def mlsd_options(trial: Trial) -> None:
    """OPTS MLST with some facts is answered by 200, and MLST tells no others."""

    async with trial.client() as client:
        if "MLST" not in await features(trial, client):
            trial.not_offered("FEAT lists no MLST")
        reply = await client.command("OPTS MLST size;")
        if reply.kind == 5:
            trial.fail(f"OPTS MLST size; was answered by '{reply}'")
        client.check(reply, 200)
        name = trial.new_name()
        await trial.put(client, name, b"content")
        told = (await client.expect(f"MLST {name}", 250)).lines[1]
        if not re.match(r" (size=7;)? ", told, re.IGNORECASE):
            trial.fail(f"after OPTS MLST size; the facts are {told!r}")


@check("RFC 959 §5.4: 226; or 450, 550 for NLST of nothing")
async def empty_directories(trial: Trial) -> None:
    """LIST, NLST and MLSD of an empty directory show nothing, and end well."""

    trial.writable()
    async with trial.client() as client:
        inner = trial.new_name("")
        await make_directory(client, inner)
        for verb in ("LIST", "NLST", "MLSD"):
            first, content, last = await try_download(client, f"{verb} {inner}")
            if first.code in UNKNOWN:
                continue
            if last.kind != 2:
                trial.warn(f"{verb} of an empty directory was answered by '{last}'")
                client.check(last, 450, 550)
            last_words = b"\r\n".join(line.split(b" ")[-1] for line in content.split(b"\r\n"))
            # "total 0"
            names = [name for name in names_in(last_words) if not name.isdigit()]
            if names and not (verb == "MLSD" and b"type=file" not in content.lower()):
                trial.fail(f"{verb} of an empty directory shows {content[:80]!r}")
        await client.expect(f"RMD {inner}", 250)


@check("RFC 959 §5.4: 450; 550; Twisted sent nothing and 226")
async def what_is_not_there(trial: Trial) -> None:
    """LIST, NLST and MLSD of a missing path are refused by 450 or 550, before 150."""

    async with trial.client() as client:
        for verb in ("LIST", "NLST", "MLSD"):
            first, content, last = await try_download(client, f"{verb} missing")
            if first.code in UNKNOWN:
                continue
            if last.kind == 2:
                if content.strip():
                    trial.fail(f"{verb} of a missing path sent {content[:80]!r} and '{last}'")
                trial.warn(f"{verb} of a missing path is an empty listing: '{last}'")
            elif first.kind == 1:
                trial.warn(f"{verb} of a missing path was '{first}', then '{last}'")
            else:
                client.check(last, 450, 550, 501)


@check("RFC 959 §3.2: the server closes the data connection when it is not needed")
async def refused_listing_lets_go(trial: Trial) -> None:
    """After a listing that was refused, the next one works, and the old connection is closed."""

    async with trial.client() as client:
        data = await client.passive()
        async with data:
            first = await client.command("LIST missing")
            if first.kind == 1:
                # That it says so too late is another check's matter.
                await client.secure(data)
                await data.receive_all()
                data.close()
                await client.reply()
            await client.download("LIST")
            if first.kind != 1:
                try:
                    rest = await data.receive_all()
                except OSError:
                    rest = b""
                trial.require(not rest, f"on the old connection came {rest[:60]!r}")


@check("aioftp #121, Twisted #7141: clients send LIST -a, -l, -la")
async def list_with_options(trial: Trial) -> None:
    """LIST with the options -a, -l, -la shows the directory, not a file of that name."""

    async with trial.client() as client:
        name = trial.new_name()
        await trial.put(client, name, b"content")
        for options in ("-a", "-l", "-la", "-al"):
            _, content, last = await try_download(client, f"LIST {options}")
            if last.kind != 2:
                trial.warn(f"LIST {options} was answered by '{last}'")
                client.check(last, 450, 451, 501, 504, 550)
            elif not re.search(rb" %b\r\n" % name.encode(), content):
                trial.fail(f"LIST {options} does not show the directory: {content[:80]!r}")


@check("RFC 959 §3.1.1.1: <CRLF> in ASCII; listings are ASCII or EBCDIC (§4.1.3)")
async def line_ends_of_listings(trial: Trial) -> None:
    """In TYPE A, each line of a listing ends with CRLF, and no LF is without a CR."""

    async with trial.client() as client:
        await trial.put(client, trial.new_name(), b"content")
        await client.expect("TYPE A", 200)
        for verb in ("LIST", "NLST", "MLSD"):
            first, content, _ = await try_download(client, verb)
            if first.code in UNKNOWN:
                continue
            if not content.endswith(b"\r\n") or re.search(rb"(?<!\r)\n|\r(?!\n)", content):
                trial.fail(f"in TYPE A, {verb} sent {content[-60:]!r}")


@check("CVE-2019-20176, CVE-2011-0762; ftp-srv and others lost entries")
async def listing_of_many(trial: Trial) -> None:
    """A directory of some hundred entries is listed whole, by LIST, NLST and MLSD."""

    trial.writable()
    is_seen = trial.server.local is not None
    wanted = sorted(b"entry-%03d" % i for i in range(MANY if is_seen else FEWER))
    async with trial.client() as client:
        inner = trial.new_name("")
        await make_directory(client, inner)
        await client.expect(f"CWD {inner}", 2)
        if is_seen:
            await anyio.to_thread.run_sync(_make_entries, trial.local() / inner, wanted)
        else:
            await _each(client, b"MKD ", wanted)
        for verb in ("LIST", "NLST", "MLSD"):
            first, content, last = await try_download(client, verb)
            if first.code in UNKNOWN:
                continue
            client.check(last, 2)
            names = sorted(re.findall(rb"entry-\d{3}(?=\r\n)", content))
            if names != wanted:
                trial.fail(f"{verb} shows {len(names)} of {len(wanted)} entries")
        if is_seen:
            await anyio.to_thread.run_sync(_remove_entries, trial.local() / inner)
        else:
            await _each(client, b"RMD ", wanted)
        await client.expect("CDUP", 2)
        await client.expect(f"RMD {inner}", 2)


def _make_entries(directory: Path, names: list[bytes]) -> None:
    for name in names:
        (directory / os.fsdecode(name)).touch()


def _remove_entries(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


async def _each(client: ScriptedClient, verb: bytes, names: list[bytes]) -> None:
    for start in range(0, len(names), 50):
        few = names[start : start + 50]
        await client.send(*(verb + name for name in few))
        for _ in few:
            await client.expect_reply(257, 250)


@check("Several servers end the listing there")
async def file_that_vanishes(trial: Trial) -> None:
    """A listing in which files vanish ends well, and shows all that stay."""

    inner = trial.new_name("")
    directory = trial.local() / inner
    stay = [b"stays-%04d" % i for i in range(0, VANISHING, 2)]
    await anyio.to_thread.run_sync(_fill, directory, VANISHING)
    try:
        async with trial.client() as client:
            await client.expect(f"CWD {inner}", 2)
            data = await client.passive(receive_buffer=16_384)
            async with data:
                await client.begin("LIST", data)
                content = await data.receive(1000)
                await anyio.to_thread.run_sync(_thin_out, directory)
                # The reply says more than a reset.
                with contextlib.suppress(OSError):
                    content += await data.receive_all()
                    await client.leave(data)
            await client.expect_reply(226, 250)
            missing = [name for name in stay if name + b"\r\n" not in content]
            trial.require(not missing, f"{len(missing)} of {len(stay)} files that stay are missing")
    finally:
        await anyio.to_thread.run_sync(_empty, directory)


def _fill(directory: Path, number: int) -> None:
    directory.mkdir()
    directory.chmod(0o777)
    for i in range(number):
        (directory / f"{'goes' if i % 2 else 'stays'}-{i:04}").touch()


def _thin_out(directory: Path) -> None:
    for path in directory.glob("goes-*"):
        path.unlink()


def _empty(directory: Path) -> None:
    _remove_entries(directory)
    directory.rmdir()


@check("ls -l; pyftpdlib, proftpd and pure-ftpd show a time of day for the future")
async def dates_in_listings(trial: Trial) -> None:
    """LIST shows dates of which clients make the right day, also old ones and future ones."""

    directory = trial.local()
    now = int(time.time())
    moments = {
        trial.new_name().encode(): now + days * 86400
        for days in (0, -100, -300, -400, -9000, 40, 200)
    }
    for name, moment in moments.items():
        path = directory / name.decode()
        await anyio.to_thread.run_sync(path.write_bytes, b"content")
        await anyio.to_thread.run_sync(os.utime, path, (moment, moment))
    async with trial.client() as client:
        entries = await _entries(trial, client)
    for name, moment in moments.items():
        modified = entries[name].modified if name in entries else None
        if not isinstance(modified, (int, float)):
            trial.fail(f"LIST shows no date of a file: {entries.get(name)}")
        # The server's zone is its own.
        if abs(modified - moment) > 2 * 86400:
            told, real = (
                time.strftime("%Y-%m-%d", time.gmtime(seconds)) for seconds in (modified, moment)
            )
            trial.warn(f"a file of {real} seems to be of {told}")


@check("Several servers end the listing there")
async def dangling_links(trial: Trial) -> None:
    """A symbolic link that leads nowhere breaks no listing."""

    inner = trial.new_name("")
    directory = trial.local() / inner
    await anyio.to_thread.run_sync(_fill, directory, 1)
    await anyio.to_thread.run_sync((directory / "link").symlink_to, "nowhere")
    try:
        async with trial.client() as client:
            for verb in ("LIST", "NLST", "MLSD"):
                first, content, last = await try_download(client, f"{verb} {inner}")
                if first.code in UNKNOWN:
                    continue
                if last.kind != 2 or b"stays-0000\r\n" not in content:
                    trial.fail(f"{verb} beside such a link sent {content[:60]!r} and '{last}'")
    finally:
        await anyio.to_thread.run_sync(_empty, directory)
