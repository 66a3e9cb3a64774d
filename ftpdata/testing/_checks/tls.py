"""TLS: its commands, what may be said in clear, whose session is resumed, and how it ends."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator

import attrs

from ..client import Failure, Reply, ScriptedClient
from ._frame import Protection, Trial, check
from ._steps import (
    MOMENT,
    drain,
    final_reply,
    in_step,
    large_file,
    listing_works,
    read_away,
    running,
    small_file,
)

__all__ = [
    "auth_twice",
    "clear_download_where_private",
    "clear_upload_where_private",
    "close_notify_after_downloads",
    "close_notify_after_uploads",
    "commands_injected_before_tls",
    "foreign_application_protocols",
    "foreign_sessions",
    "handshake_that_fails",
    "login_before_tls",
    "protection_commands",
    "protection_taken_back",
    "protection_without_tls",
    "quit_in_tls",
    "resumed_sessions",
    "sessions_that_are_not_resumed",
    "upload_without_close_notify",
]

_TRANSFERS = 5
"""Transfers of a session that have to resume; curl #4654 failed at the second."""


def _require_explicit(trial: Trial) -> None:
    if trial.server.protection is not Protection.EXPLICIT:
        trial.not_offered("needs explicit TLS")


def _contexts(trial: Trial) -> Iterator[ssl.SSLContext]:
    """Give a context for TLS 1.2 alone, and one for TLS 1.3 alone."""

    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trial.tls_context()
        context.minimum_version = context.maximum_version = version
        yield context


@attrs.frozen
class _Transfer:
    """How a download with a handshake of its own has ended.

    Attributes:
        reply: The final reply.
        content: What has come.
        is_resumed: Whether the server has resumed the session that was offered.
    """

    reply: Reply
    content: bytes
    is_resumed: bool


async def _download(
    client: ScriptedClient, line: str, session: ssl.SSLSession | None
) -> _Transfer:
    """Run a command that sends; on its data connection, offer that session."""

    assert client.context is not None
    content, is_resumed = b"", False
    async with await client.passive() as data:
        await client.send(line)
        async with running(final_reply(client)) as final:
            with contextlib.suppress(OSError, Failure):
                await data.start_tls(client.context, session=session)
                content = (await drain(data)).content
                is_resumed = data.tls is not None and bool(data.tls.session_reused)
                await client.leave(data)
            data.close()
            reply = await final
    return _Transfer(reply, content, is_resumed)


# Commands


@check("RFC 2228 §3 (503), RFC 4217 §9; aioftp: 200 to PROT P in clear")
async def protection_without_tls(trial: Trial) -> None:
    """PBSZ and PROT are refused before there is TLS."""

    _require_explicit(trial)
    async with trial.arrived() as client:
        await client.expect_reply(220)
        await client.expect("PBSZ 0", 5)
        await client.expect("PROT P", 5)
        await client.protect(trial.tls_context())
        await client.login(trial.server.user, trial.server.password)


@check("RFC 2228 §3 (503, 504, 536), RFC 4217 §9")
async def protection_commands(trial: Trial) -> None:
    """PROT needs PBSZ before it; PROT P is 200, PROT C is 200 or 5yz, all others are 5yz."""

    trial.tls_context()
    async with trial.greeted() as client:
        await client.login(trial.server.user, trial.server.password)
        if trial.server.protection is Protection.EXPLICIT:
            reply = client.check(await client.command("PROT P"), 2, 5)
            if reply.kind == 2:
                trial.warn(f"PROT without PBSZ was answered by '{reply}'")
        await client.expect("PBSZ 0", 2)
        await client.expect("PROT P", 2)
        for level in ("S", "E", "X", "PP"):
            await client.expect(f"PROT {level}", 5)
        await client.expect("PROT", 5)
        # Whatever was refused has changed nothing.
        client.is_private = True
        await listing_works(client)


@check("RFC 4217 §9: at that level until another PROT")
async def protection_taken_back(trial: Trial) -> None:
    """After PROT C data connections are in clear, and after PROT P in TLS again."""

    trial.tls_context()
    async with trial.client() as client:
        reply = client.check(await client.command("PROT C"), 2, 5)
        if reply.kind == 5:
            await listing_works(client)
            trial.not_offered(f"the server insists on TLS: '{reply}'")
        client.is_private = False
        data = await client.passive()
        async with data, running(final_reply(client)) as final:
            await client.send("LIST")
            try:
                await drain(data)
            except Failure:
                trial.fail("after PROT C nothing comes in clear")
            data.close()
            reply = client.check(await final, 2, 521, 522, 534)
        await client.expect("PROT P", 2)
        client.is_private = True
        await listing_works(client)
        if reply.kind == 5:
            trial.not_offered(f"the server insists on TLS: '{reply}'")


@check("RFC 2228 §3 (AUTH may be reissued), RFC 4217 §4")
async def auth_twice(trial: Trial) -> None:
    """AUTH in a session that has TLS is refused, and changes nothing."""

    trial.tls_context()
    async with trial.client() as client:
        reply = client.check(await client.command("AUTH TLS"), 234, 5)
        if reply.code == 234:
            trial.not_offered("the server negotiates TLS within TLS")
        await listing_works(client)


@check("RFC 4217 §4.2, RFC 2228 §3: the user must reauthorize")
async def login_before_tls(trial: Trial) -> None:
    """A client that has logged in in clear logs in again after AUTH TLS, or gets no AUTH."""

    _require_explicit(trial)
    async with trial.arrived() as client:
        await client.expect_reply(220)
        reply = await client.command(f"USER {trial.server.user}")
        if reply.code == 331:
            reply = await client.command(f"PASS {trial.server.password}")
        if reply.kind != 2:
            trial.not_offered(f"the server lets nobody log in in clear: '{reply}'")
        if (await client.command("AUTH TLS")).kind == 5:
            return
        try:
            await client.stream.start_tls(trial.tls_context())
        except OSError as error:
            trial.fail(f"the TLS handshake after a login failed: {error}")
        reply = await client.command("PWD")
        trial.require(
            reply.kind != 2, f"a login in clear is good in TLS: PWD was answered by '{reply}'"
        )


@check("CVE-2011-1575 (pure-ftpd), CVE-2011-0411: STARTTLS injection")
async def commands_injected_before_tls(trial: Trial) -> None:
    """What is sent in clear after AUTH TLS is not carried out after the handshake."""

    _require_explicit(trial)
    for injected in (b"NOOP\r\n", b"NO"):
        async with trial.arrived() as client:
            await client.expect_reply(220)
            await client.send_bytes(b"AUTH TLS\r\n" + injected, said="'AUTH TLS' and more")
            # Ending the session, or taking it for the handshake, is safe, too.
            try:
                client.check(await client.reply(), 234)
                await client.stream.start_tls(trial.tls_context())
                reply = await client.command(f"USER {trial.server.user}")
            except (OSError, Failure):
                continue
            trial.require(
                reply.code in (230, 232, 331, 332, 421, 530),
                f"{injected!r} was sent in clear, and the first command in TLS answered "
                f"by '{reply}'",
            )


# Resumption


@check("RFC 4217 §10.2, RFC 8446 §2.2; curl #4654: the second transfer")
async def resumed_sessions(trial: Trial) -> None:
    """Data connections may resume the session of the control connection, in each transfer."""

    versions = 0
    for context in _contexts(trial):
        version = context.minimum_version.name.replace("v1_", " 1.")
        async with contextlib.AsyncExitStack() as stack:
            try:
                client = await stack.enter_async_context(trial.client(context=context))
            except (OSError, Failure):
                # Without this version, or a system of ours that is.
                continue
            versions += 1
            for number in range(1, _TRANSFERS + 1):
                transfer = await _download(client, "LIST", client.session)
                trial.require(
                    transfer.reply.kind == 2,
                    f"transfer {number} with {version}, which offered the session of the "
                    f"control connection, was answered by '{transfer.reply}'",
                )
                if not transfer.is_resumed:
                    trial.warn(f"{version} was not resumed by transfer {number}")
                    break
            await in_step(client)
    trial.require(versions, "the server has neither TLS 1.2 nor 1.3")


@check("RFC 4217 §10.2 (522)")
async def sessions_that_are_not_resumed(trial: Trial) -> None:
    """A data connection that resumes nothing is served, or refused, and harms no other."""

    trial.tls_context()
    async with trial.client() as client:
        transfer = await _download(client, "LIST", None)
        client.check(transfer.reply, 2, 4, 5)
        await listing_works(client)


@check("RFC 4217 §10.2, §15.2.6; servers that ask only whether any session was resumed")
async def foreign_sessions(trial: Trial) -> None:
    """Where data connections have to resume a session, that of another client is refused."""

    is_required = False
    for context in _contexts(trial):
        async with contextlib.AsyncExitStack() as stack:
            try:
                thief = await stack.enter_async_context(trial.client(context=context))
                client = await stack.enter_async_context(trial.client(context=context))
            except (OSError, Failure):
                continue
            if (await _download(client, "LIST", None)).reply.kind == 2:
                continue
            is_required = True
            transfer = await _download(client, "LIST", thief.session)
            trial.require(
                transfer.reply.kind in (4, 5) and not transfer.content,
                "a data connection that resumed the session of another control connection got "
                f"{len(transfer.content)} bytes, and '{transfer.reply}'",
            )
            await listing_works(client)
    if not is_required:
        trial.not_offered(
            "data connections need not resume the session of the control connection: who "
            "shares the client's address can take one"
        )


# What is said in clear, or in another language


@check("RFC 4217 §9 (MUST be at that level), §10.2 (522)")
async def clear_download_where_private(trial: Trial) -> None:
    """After PROT P nothing is sent in clear, to a client that says nothing."""

    trial.tls_context()
    async with trial.client() as client:
        name, content = await small_file(trial, client)
        data = await client.passive()
        data.patience = MOMENT
        async with data:
            await client.send(f"RETR {name}")
            try:
                received = await data.receive()
            except (Failure, OSError):
                received = b""
            data.close()
            # An alert, or the ServerHello of a confused server, is no content.
            trial.require(
                content[:16] not in received, "the file came in clear after PROT P"
            )
        client.check(await final_reply(client), 4, 5)
        await listing_works(client)


@check("RFC 4217 §9 (MUST be at that level), §10.2 (522); libunftp panics")
async def clear_upload_where_private(trial: Trial) -> None:
    """After PROT P what comes in clear is not stored, and the session goes on."""

    trial.tls_context()
    async with trial.client() as client:
        trial.writable()
        name, content = trial.new_name(), b"GET / HTTP/1.1\r\nHost: ftp\r\n\r\n"
        async with await client.passive() as data:
            await client.send(f"STOR {name}")
            with contextlib.suppress(OSError):
                await data.send(content)
                data.fin()
                await drain(data)
        client.check(await final_reply(client), 4, 5)
        trial.require(
            not await trial.content(client, name), "what came in clear after PROT P was stored"
        )
        await listing_works(client)


@check("CVE-2021-3618 (ALPACA); vsftpd from 3.0.4 refuses")
async def foreign_application_protocols(trial: Trial) -> None:
    """A client that offers only another protocol than FTP (ALPN) gets no connection."""

    accepted, chosen = [], None
    context = trial.tls_context()
    context.set_alpn_protocols(["http/1.1", "h2"])
    # In TLS 1.3 a refusal comes after the client's handshake.
    with contextlib.suppress(OSError, Failure):
        async with trial.greeted(context=context) as client:
            await client.expect(f"USER {trial.server.user}", 2, 331)
            accepted.append("control")
            chosen = client.stream.tls and client.stream.tls.selected_alpn_protocol()

    context = trial.tls_context()
    async with trial.client(context=context) as client:
        context.set_alpn_protocols(["http/1.1", "h2"])
        data = await client.passive()
        async with data, running(final_reply(client)) as final:
            await client.send("LIST")
            await read_away(client, data)
            if client.check(await final, 2, 4, 5).kind == 2:
                accepted.append("data")
                chosen = chosen or (data.tls and data.tls.selected_alpn_protocol())
        await in_step(client)
    trial.require(not chosen, f"the server speaks {chosen}")
    if accepted:
        trial.warn(f"a browser gets a {' and a '.join(accepted)} connection")


# Ends


@check("RFC 8446 §6.1, RFC 5246 §7.2.1; FileZilla, lftp and GnuTLS's clients refuse it")
async def close_notify_after_downloads(trial: Trial) -> None:
    """Downloads and listings end with close_notify, however long they are."""

    trial.tls_context()
    async with trial.client() as client:
        lines = ["LIST"]
        if trial.directory is not None:
            empty = trial.new_name()
            await trial.put(client, empty, b"")
            lines += [f"RETR {empty}", f"RETR {(await small_file(trial, client))[0]}"]
            lines += [f"RETR {(await large_file(trial, client))[0]}"]
        for line in lines:
            _, data = await client.begin(line)
            async with data:
                drained = await drain(data)
                await client.leave(data)
            trial.require(
                drained.end == "clean",
                f"{line[:4]} of {len(drained.content)} bytes ended without close_notify",
            )
            await client.expect_reply(2)


@check("RFC 5246 §7.2.1 (MUST respond), RFC 8446 §6.1; FileZilla waits for it")
async def close_notify_after_uploads(trial: Trial) -> None:
    """The close_notify of an upload is answered by one."""

    trial.tls_context()
    async with trial.client() as client:
        trial.writable()
        for content in (b"content", b""):
            _, data = await client.begin(f"STOR {trial.new_name()}")
            async with data:
                await data.send(content)
                await data.end()
                if (await drain(data)).end != "clean":
                    trial.warn(f"an upload of {len(content)} bytes is not answered by close_notify")
            await client.expect_reply(2)
        await in_step(client)


@check("RFC 8446 §6.1 (truncation); proftpd, pure-ftpd, aioftp: 226; pyftpdlib #614")
async def upload_without_close_notify(trial: Trial) -> None:
    """An upload in TLS that ends without close_notify is not complete, and not published."""

    trial.tls_context()
    async with trial.client() as client:
        trial.writable()
        for content in (b"half a fi", b""):
            name = trial.new_name()
            _, data = await client.begin(f"STOR {name}")
            async with data:
                await data.send(content)
                data.fin()
                reply = await client.reply()
            trial.require(
                reply.kind in (4, 5),
                f"an upload of {len(content)} bytes that anybody may have cut was answered by "
                f"'{reply}'",
            )
            if (stored := await trial.content(client, name)) is not None:
                trial.warn(f"{len(stored)} bytes of a cut upload have the name of the whole")
            await listing_works(client)


@check("RFC 4217 §10.2 (522)")
async def handshake_that_fails(trial: Trial) -> None:
    """A handshake that fails ends its transfer with 4yz or 5yz, and the session goes on."""

    trial.tls_context()
    async with trial.client() as client:
        for how in ("a reset", "the end", "what is no TLS"):
            async with await client.passive() as data:
                await client.send("LIST")
                if how == "a reset":
                    data.reset()
                elif how == "the end":
                    data.close()
                else:
                    with contextlib.suppress(OSError):
                        await data.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
                        await drain(data)
            reply = await final_reply(client)
            trial.require(reply.kind in (4, 5), f"{how} in the handshake was answered by '{reply}'")
            await listing_works(client)


@check("RFC 8446 §6.1")
async def quit_in_tls(trial: Trial) -> None:
    """After QUIT the control connection ends with close_notify."""

    trial.tls_context()
    async with trial.client() as client:
        await client.expect("QUIT", 221)
        if (await drain(client.stream)).end != "clean":
            trial.warn("the control connection ends without close_notify")
