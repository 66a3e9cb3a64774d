"""Commands about files and directories that move no bytes (RFC 959 §4.1.3, RFC 3659 §3 and §4)."""

from __future__ import annotations

import calendar
import os
import re
import time

import anyio.to_thread

from ._asking import difference, make_directory, offered, still_answers
from ._frame import Trial, check

__all__ = [
    "dele_command",
    "dele_of_a_directory",
    "failed_rename_is_forgotten",
    "mdtm_command",
    "mdtm_is_exact",
    "mfmt_command",
    "mkd_of_what_is_there",
    "rename_of_a_missing_file",
    "rename_onto_a_file",
    "renames",
    "rmd_of_a_file",
    "rmd_of_a_full_directory",
    "rnto_without_rnfr",
    "size_command",
    "size_of_a_directory",
    "way_into_a_file",
]


@check("RFC 959 §5.4: 250; 550")
async def dele_command(trial: Trial) -> None:
    """DELE is answered by 250 and the file is gone; of a missing file, by 550."""

    trial.writable()
    async with trial.client() as client:
        name = trial.new_name()
        await trial.put(client, name, b"content")
        await client.expect(f"DELE {name}", 250)
        trial.require(await trial.content(client, name) is None, "the file is still there")
        await client.expect(f"DELE {name}", 550, 450)


@check("RFC 959 §5.4: 550")
async def dele_of_a_directory(trial: Trial) -> None:
    """DELE does not delete a directory (on systems where RMD is for that)."""

    trial.writable()
    async with trial.client() as client:
        name = trial.new_name("")
        await make_directory(client, name)
        await client.expect(f"DELE {name}", 550, 450)
        await client.expect(f"RMD {name}", 250)


@check("RFC 959 §5.4: 550")
async def rmd_of_a_file(trial: Trial) -> None:
    """RMD does not delete a file."""

    trial.writable()
    async with trial.client() as client:
        name = trial.new_name()
        await trial.put(client, name, b"content")
        await client.expect(f"RMD {name}", 550, 450)
        trial.require(await trial.content(client, name) == b"content", "the file is gone")


@check("RFC 959 §5.4: 550")
async def rmd_of_a_full_directory(trial: Trial) -> None:
    """RMD of a directory that holds a file is refused, and the file stays."""

    trial.writable()
    async with trial.client() as client:
        name = trial.new_name("")
        await make_directory(client, name)
        await trial.put(client, f"{name}/file", b"content")
        reply = await client.command(f"RMD {name}")
        if reply.kind == 2:
            trial.fail(f"RMD of a directory that holds a file was answered by '{reply}'")
        client.check(reply, 550, 450)
        is_there = await trial.content(client, f"{name}/file") == b"content"
        trial.require(is_there, "the file in it is gone")


@check("RFC 959 §5.4: 550; appendix II: 521")
async def mkd_of_what_is_there(trial: Trial) -> None:
    """MKD of a name that a file or a directory has is refused, and so is one in no directory."""

    trial.writable()
    async with trial.client() as client:
        name, directory = trial.new_name(), trial.new_name("")
        await trial.put(client, name, b"content")
        await make_directory(client, directory)
        for line in (f"MKD {name}", f"MKD {directory}", f"MKD {name}/new"):
            await client.expect(line, 521, 550, 553, 450)
        await client.expect(f"RMD {directory}", 250)
        reply = await client.command("MKD missing/new")
        if reply.code == 257:
            # Where directories are parts of names, there is nothing to be missing.
            await client.expect("CWD missing/new", 250, 200)
            trial.warn(f"MKD missing/new was answered by '{reply}', and has made both")
        else:
            client.check(reply, 521, 550, 553, 450)


@check("RFC 959 §5.4: 550")
async def way_into_a_file(trial: Trial) -> None:
    """CWD to a file, to a missing directory and into a file is refused, and PWD stays the same."""

    trial.writable()
    async with trial.client() as client:
        name = trial.new_name()
        await trial.put(client, name, b"content")
        before = (await client.expect("PWD", 257)).text
        for line in (f"CWD {name}", "CWD missing", f"CWD {name}/inner"):
            await client.expect(line, 550, 450, 501, 553)
        trial.require((await client.expect("PWD", 257)).text == before, "PWD has changed")


@check("RFC 959 §5.4: 350, 250")
async def renames(trial: Trial) -> None:
    """RNFR and RNTO are answered by 350 and 250, for files and directories."""

    trial.writable()
    async with trial.client() as client:
        old, new = trial.new_name(), trial.new_name()
        await trial.put(client, old, b"content")
        client.check(await offered(trial, client, f"RNFR {old}"), 350)
        await client.expect(f"RNTO {new}", 250)
        trial.require(await trial.content(client, old) is None, "the old name is still there")
        why = difference(await trial.content(client, new), b"content")
        trial.require(not why, f"the file with the new name: {why}")
        directory = trial.new_name("")
        await make_directory(client, directory)
        await client.expect(f"RNFR {directory}", 350)
        reply = client.check(await client.command(f"RNTO {directory}.new"), 250, 550, 553)
        if reply.kind == 2:
            await client.expect(f"RMD {directory}.new", 250)
        else:
            trial.warn(f"a directory cannot be renamed: '{reply}'")
            await client.expect(f"RMD {directory}", 250)


@check("RFC 959 §5.4: 503")
async def rnto_without_rnfr(trial: Trial) -> None:
    """RNTO without RNFR, and a second RNTO after one RNFR, is answered by 503."""

    trial.writable()
    async with trial.client() as client:
        old, new = trial.new_name(), trial.new_name()
        client.check(await offered(trial, client, f"RNTO {new}"), 503)
        await trial.put(client, old, b"content")
        client.check(await offered(trial, client, f"RNFR {old}"), 350)
        await client.expect(f"RNTO {new}", 250)
        await client.expect(f"RNTO {new}.again", 503)


@check("RFC 959 §5.4: 550, 450")
async def rename_of_a_missing_file(trial: Trial) -> None:
    """RNFR of a missing file is answered by 550, or the RNTO is; nothing is made."""

    trial.writable()
    async with trial.client() as client:
        new = trial.new_name()
        reply = await offered(trial, client, "RNFR missing")
        if client.check(reply, 350, 450, 550).code == 350:
            trial.warn(f"RNFR of a missing file was answered by '{reply}'")
            await client.expect(f"RNTO {new}", 4, 5)
        else:
            await client.expect(f"RNTO {new}", 503)
        trial.require(await trial.content(client, new) is None, "the new name is there")


@check("RFC 959 §4.1.3: RNTO must come at once behind RNFR")
async def failed_rename_is_forgotten(trial: Trial) -> None:
    """What RNFR has named is forgotten after an RNTO that failed."""

    trial.writable()
    async with trial.client() as client:
        old, new, file = trial.new_name(), trial.new_name(), trial.new_name()
        await trial.put(client, old, b"content")
        await trial.put(client, file, b"content")
        client.check(await offered(trial, client, f"RNFR {old}"), 350)
        await client.expect(f"RNTO {file}/{new}", 4, 5)
        await client.expect(f"RNTO {new}", 503)


@check("RFC 959 §4.1.3 leaves open which; POSIX replaces")
async def rename_onto_a_file(trial: Trial) -> None:
    """A rename onto a name that a file has replaces that file, or changes nothing."""

    trial.writable()
    async with trial.client() as client:
        old, new = trial.new_name(), trial.new_name()
        await trial.put(client, old, b"the one")
        await trial.put(client, new, b"another")
        client.check(await offered(trial, client, f"RNFR {old}"), 350)
        reply = await client.expect(f"RNTO {new}", 250, 553, 550, 450, 451, 521)
        of_old, of_new = await trial.content(client, old), await trial.content(client, new)
        expected = (None, b"the one") if reply.kind == 2 else (b"the one", b"another")
        if (of_old, of_new) != expected:
            trial.fail(f"after '{reply}', the old name holds {of_old!r}, the new one {of_new!r}")


@check("RFC 3659 §4.1")
async def size_command(trial: Trial) -> None:
    """SIZE is answered by `213 ` and digits alone, as many bytes as RETR sends; or by 550."""

    trial.writable()
    async with trial.client() as client:
        for content in (b"", b"x", b"x" * 100_000):
            name = trial.new_name()
            await trial.put(client, name, content)
            reply = await offered(trial, client, f"SIZE {name}")
            if reply.text != f"213 {len(content)}":
                trial.fail(f"SIZE of a file of {len(content)} bytes was answered by '{reply}'")
        await client.expect("SIZE missing", 550, 450)


@check("RFC 3659 §4.2: 550 for what cannot be transferred")
async def size_of_a_directory(trial: Trial) -> None:
    """SIZE of a directory is answered by 550."""

    trial.writable()
    async with trial.client() as client:
        name = trial.new_name("")
        await make_directory(client, name)
        reply = await offered(trial, client, f"SIZE {name}")
        await client.expect(f"RMD {name}", 250)
        if reply.code != 550:
            trial.fail(f"SIZE of a directory was answered by '{reply}'")


TIME_VAL = r"213 [0-9]{14}(\.[0-9]+)?"


@check("RFC 3659 §3.1, §2.3")
async def mdtm_command(trial: Trial) -> None:
    """MDTM is answered by `213 `, fourteen digits, and perhaps a fraction, in UTC; or by 550."""

    trial.writable()
    async with trial.client() as client:
        name = trial.new_name()
        await trial.put(client, name, b"content")
        reply = await offered(trial, client, f"MDTM {name}")
        if not re.fullmatch(TIME_VAL, reply.text):
            trial.fail(f"MDTM was answered by '{reply}'")
        told = time.strptime(reply.text[4:18], "%Y%m%d%H%M%S")
        # Servers elsewhere have clocks of their own; time zones are whole quarters of hours.
        apart = abs(time.time() - calendar.timegm(told))
        if apart > 600:
            trial.warn(f"a file uploaded just now has the time {reply.text[4:18]}, not in UTC?")
        await client.expect("MDTM missing", 550, 450)


@check("RFC 3659 §3.1, §2.3: UTC")
async def mdtm_is_exact(trial: Trial) -> None:
    """MDTM tells the time of a file to the second, for old ones and for ones in the future."""

    directory = trial.local()
    async with trial.client() as client:
        for moment in (0, 951_782_400, 1_000_000_001, int(time.time()) + 40 * 86400):
            name = trial.new_name()
            path = directory / name
            await anyio.to_thread.run_sync(path.write_bytes, b"content")
            await anyio.to_thread.run_sync(os.utime, path, (moment, moment))
            reply = await offered(trial, client, f"MDTM {name}")
            told = time.strftime("%Y%m%d%H%M%S", time.gmtime(moment))
            if not reply.text.startswith(f"213 {told}"):
                trial.fail(f"MDTM of a file of {told} was answered by '{reply}'")


@check("draft-somers-ftp-mfxx-03 §3")
async def mfmt_command(trial: Trial) -> None:
    """MFMT sets the time that MDTM tells, and is answered by `213 Modify=…; name`."""

    trial.writable()
    async with trial.client() as client:
        name = trial.new_name()
        await trial.put(client, name, b"content")
        reply = await offered(trial, client, f"MFMT 20010203040506 {name}")
        if reply.kind != 2:
            trial.not_offered(f"times cannot be set: '{reply}'")
        if not re.match(r"213 modify=20010203040506(\.0+)?; ", reply.text, re.IGNORECASE):
            trial.fail(f"MFMT was answered by '{reply}'")
        told = await client.expect(f"MDTM {name}", 213)
        if told.text[:18] != "213 20010203040506":
            trial.fail(f"MFMT 20010203040506 was done, and MDTM was answered by '{told}'")
        for line in (f"MFMT 20010230040506 {name}", f"MFMT yesterday {name}"):
            await client.expect(line, 501, 500, 550)
        await still_answers(client)
