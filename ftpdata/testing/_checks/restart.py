"""REST in stream mode (RFC 3659 §5): where the next transfer begins, and what is no number."""

from __future__ import annotations

from ..client import Reply, ScriptedClient, ScriptedStream
from ._asking import difference, features, offered, pattern, try_download, try_upload
from ._frame import Trial, check

__all__ = [
    "rest_and_appe",
    "rest_and_listings",
    "rest_and_retr",
    "rest_and_stor",
    "rest_and_stor_beyond_the_end",
    "rest_at_the_end",
    "rest_beyond_the_end",
    "rest_in_ascii",
    "rest_is_for_one_transfer",
    "rest_of_large_numbers",
    "rest_of_no_number",
    "rest_stream_feature",
    "rest_zero",
    "restart_after_a_failure",
]

CONTENT = b"0123456789" * 100


async def _restartable(trial: Trial, client: ScriptedClient) -> str:
    """Make a file, and return its name; the check is not offered without REST."""

    client.check(await offered(trial, client, "REST 0"), 350)
    name = trial.new_name()
    await trial.put(client, name, CONTENT)
    return name


async def _rest(
    client: ScriptedClient, marker: object, *more: object, codes: tuple[int, ...] = (350,)
) -> tuple[Reply, ScriptedStream]:
    """Say REST, with the data connection made before: the transfer command has to come next.

    Returns:
        The reply to the last REST, and the data connection.
    """

    data = await client.passive()
    try:
        reply = await client.command(f"REST {marker}")
        for another in more:
            client.check(reply, *codes)
            reply = await client.command(f"REST {another}")
        if codes:
            client.check(reply, *codes)
    except BaseException:
        data.close()
        raise
    return reply, data


async def _retr(client: ScriptedClient, name: str, marker: int, *more: int) -> bytes:
    """Download what is behind a REST, which has to be possible."""

    _, data = await _rest(client, marker, *more)
    _, content, last = await try_download(client, f"RETR {name}", data)
    client.check(last, 2)
    return content


@check("RFC 3659 §5.3")
async def rest_and_retr(trial: Trial) -> None:
    """REST is answered by 350, and RETR sends the file from there on."""

    async with trial.client() as client:
        name = await _restartable(trial, client)
        for offset in (1, 500, len(CONTENT) - 1):
            if why := difference(await _retr(client, name, offset), CONTENT[offset:]):
                trial.fail(f"RETR of {len(CONTENT)} bytes after REST {offset}: {why}")


@check("RFC 3659 §5.3: zero disables it")
async def rest_zero(trial: Trial) -> None:
    """REST 0 takes an earlier REST back."""

    async with trial.client() as client:
        name = await _restartable(trial, client)
        why = difference(await _retr(client, name, 5, 0), CONTENT)
        trial.require(not why, f"RETR after REST 5 and REST 0: {why}")


@check("RFC 3659 §5.3: of the immediately following transfer; libunftp kept it")
async def rest_is_for_one_transfer(trial: Trial) -> None:
    """REST applies to the next transfer and to no other."""

    async with trial.client() as client:
        name = await _restartable(trial, client)
        await _retr(client, name, 5)
        why = difference(await client.download(f"RETR {name}"), CONTENT)
        trial.require(not why, f"the second RETR after REST 5: {why}")
        await _retr(client, name, 5)
        upload = trial.new_name()
        await trial.put(client, upload, CONTENT)
        why = difference(await trial.content(client, upload), CONTENT)
        trial.require(not why, f"STOR after REST 5 and RETR: {why}")


@check("RFC 3659 §5.3 leaves it open; libunftp kept it when the transfer failed")
async def restart_after_a_failure(trial: Trial) -> None:
    """REST is forgotten when the transfer after it is refused."""

    async with trial.client() as client:
        name = await _restartable(trial, client)
        _, data = await _rest(client, 5)
        _, _, last = await try_download(client, "RETR missing", data)
        client.check(last, 4, 5)
        content = await client.download(f"RETR {name}")
        if content == CONTENT[5:]:
            trial.warn("REST is kept when the transfer behind it is refused")
        elif why := difference(content, CONTENT):
            trial.fail(f"RETR after REST 5 and a RETR that was refused: {why}")


@check("RFC 3659 §5.3")
async def rest_at_the_end(trial: Trial) -> None:
    """RETR after REST with the file's size sends nothing, or is refused."""

    async with trial.client() as client:
        name = await _restartable(trial, client)
        _, data = await _rest(client, len(CONTENT))
        _, content, last = await try_download(client, f"RETR {name}", data)
        trial.require(not content, f"{len(content)} bytes came, and '{last}'")
        client.check(last, 2, 4, 5)


@check("RFC 3659 §5.3: out of range is an error of the transfer command")
async def rest_beyond_the_end(trial: Trial) -> None:
    """RETR after REST with more than the file's size is refused, and no byte comes."""

    async with trial.client() as client:
        name = await _restartable(trial, client)
        reply, data = await _rest(client, len(CONTENT) + 1, codes=(350, 501, 554))
        if reply.code != 350:
            data.close()
        else:
            _, content, last = await try_download(client, f"RETR {name}", data)
            if content:
                trial.fail(f"beyond the end, {len(content)} bytes came, and '{last}'")
            if last.kind == 2:
                trial.warn(f"RETR from beyond the end is an empty file: '{last}'")
        why = difference(await client.download(f"RETR {name}"), CONTENT)
        trial.require(not why, f"the RETR behind it: {why}")


@check("ProFTPD issue 2286, libunftp: offsets that overflow or are negative")
async def rest_of_large_numbers(trial: Trial) -> None:
    """Offsets of 2**31 to 2**64 and more are refused, or beyond the end, and never wrap."""

    async with trial.client() as client:
        name = await _restartable(trial, client)
        for offset in (
            *(2**31 - 1, 2**31, 2**32, 2**32 + 5),
            *(2**63 - 1, 2**63, 2**64, 2**64 + 5, 10**100),
        ):
            await _beyond(trial, client, name, offset)


async def _beyond(trial: Trial, client: ScriptedClient, name: str, offset: int) -> None:
    reply, data = await _rest(client, offset, codes=(350, 500, 501, 504, 550, 551, 554))
    async with data:
        if reply.code == 350:
            _, content, last = await try_download(client, f"RETR {name}", data)
            if content:
                told = f"{offset:.0e}" if offset > 2**70 else str(offset)
                trial.fail(f"after REST {told}, {len(content)} bytes came, and '{last}'")


@check("RFC 3659 §5.3: 1*DIGIT; vsftpd takes all; Python's int() takes `+1`, `1_0`, other digits")
async def rest_of_no_number(trial: Trial) -> None:
    """REST with a sign, with letters, blanks, or digits that are not ASCII is refused."""

    async with trial.client() as client:
        await _restartable(trial, client)
        taken = []
        for marker in (
            *("-1", "+1", "1_0", "0x10", "1e3", "abc", "1 2", "1.5"),
            *("\uff11\uff10", "\u0661"),
        ):
            reply = await client.command(f"REST {marker}")
            if reply.kind != 5:
                taken.append(marker)
        trial.require(not taken, f"REST takes {', '.join(map(ascii, taken))} for numbers")


@check("RFC 3659 §5.3")
async def rest_and_stor(trial: Trial) -> None:
    """STOR after REST with the size of what is there appends the rest."""

    async with trial.client() as client:
        name = trial.new_name()
        whole = pattern(100_000, 3)
        client.check(await offered(trial, client, "REST 0"), 350)
        await trial.put(client, name, whole[:60_000])
        _, data = await _rest(client, 60_000)
        reply = await try_upload(client, f"STOR {name}", whole[60_000:], data)
        if reply.kind != 2:
            # A setting of proftpd, and its default.
            left = await trial.content(client, name)
            trial.require(left == whole[:60_000], f"'{reply}', and the file has changed")
            trial.not_offered(f"uploads cannot be resumed: '{reply}'")
        why = difference(await trial.content(client, name), whole)
        trial.require(not why, f"100,000 bytes, resumed at 60,000: {why}")


@check("RFC 3659 §5.3: undefined, and no reason to invent bytes")
async def rest_and_stor_beyond_the_end(trial: Trial) -> None:
    """STOR after REST with more than the size of the file is refused, and the file stays."""

    async with trial.client() as client:
        name = await _restartable(trial, client)
        reply, data = await _rest(client, len(CONTENT) + 1000, codes=(350, 501, 554))
        async with data:
            if reply.code == 350:
                reply = await try_upload(client, f"STOR {name}", b"rest", data)
        content = await trial.content(client, name)
        if reply.kind == 2:
            trial.warn(f"a file of {len(CONTENT)} bytes has {len(content or b'')} now, with a hole")
        elif content is None or not content.startswith(CONTENT):
            trial.fail(f"it was refused ('{reply}'), and the file is another one now")


@check("RFC 3659 §5.3: identical to STOR, or not permitted")
async def rest_and_appe(trial: Trial) -> None:
    """APPE after REST is refused, or writes at the offset, or at the end; there is one file."""

    async with trial.client() as client:
        name = await _restartable(trial, client)
        _, data = await _rest(client, 500)
        reply = await try_upload(client, f"APPE {name}", b"more", data)
        content = await trial.content(client, name)
        written = CONTENT[:500] + b"more"
        right = (written, written + CONTENT[504:]) if reply.kind == 2 else (CONTENT,)
        if reply.kind == 2 and content == CONTENT + b"more":
            trial.warn("REST before APPE is ignored")
        elif content not in right:
            trial.fail(f"after '{reply}' the file has {len(content or b'')} bytes")


@check("RFC 3659 §5.3")
async def rest_and_listings(trial: Trial) -> None:
    """A listing after REST is whole, or refused."""

    async with trial.client() as client:
        name = await _restartable(trial, client)
        _, data = await _rest(client, 3)
        _, content, last = await try_download(client, "LIST", data)
        await client.expect("REST 0", 350)
        if last.kind == 2:
            whole = await client.download("LIST")
            trial.require(
                name.encode() in content and len(content) == len(whole),
                f"LIST after REST 3 has {len(content)} bytes, not {len(whole)}",
            )


@check("RFC 3659 §5.3, §5.1: octets of the transfer; vsftpd and pyftpdlib refuse it")
async def rest_in_ascii(trial: Trial) -> None:
    """REST in TYPE A is refused, or counts the bytes of the transfer, CR included."""

    async with trial.client() as client:
        client.check(await offered(trial, client, "REST 0"), 350)
        name = trial.new_name()
        await trial.put(client, name, b"one\ntwo\nthree\n")
        await client.expect("TYPE A", 200)
        whole = await client.download(f"RETR {name}")
        reply, data = await _rest(client, 7, codes=())
        if reply.code != 350:
            data.close()
        else:
            _, content, last = await try_download(client, f"RETR {name}", data)
            if last.kind == 2 and content != whole[7:]:
                trial.fail(f"in TYPE A, {whole!r} from 7 on is {content!r}")


@check("RFC 3659 §5.4")
async def rest_stream_feature(trial: Trial) -> None:
    """FEAT lists `REST STREAM` where REST takes an offset, and only there."""

    async with trial.client() as client:
        listed = await features(trial, client)
        reply = await client.command("REST 1")
        await client.command("REST 0")
        told = listed.get("REST", "").strip().upper()
        if reply.code == 350 and told != "STREAM":
            trial.warn(f"there is REST, and FEAT has no line `REST STREAM` ({told!r})")
        if reply.code != 350 and told == "STREAM":
            trial.fail(f"FEAT has `REST STREAM`, and REST 1 was answered by '{reply}'")
