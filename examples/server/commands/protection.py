"""TLS for the control connection and for data connections (RFC 2228, RFC 4217)."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from ..reply import Reply
from .table import command

if TYPE_CHECKING:
    from ..session import Session

__all__: list[str] = []

MECHANISMS = {"TLS", "TLS-C", "SSL", "TLS-P"}
"""What AUTH takes. The last two mean PROT P as well (RFC 4217 §17, and older drafts)."""


@command("AUTH mechanism", needs_login=False, is_protection=True)
async def authenticate(session: Session, argument: str) -> Reply:
    """Begin TLS after the reply."""

    mechanism = argument.upper()
    if mechanism not in MECHANISMS:
        return Reply(504, "AUTH TLS is what there is.")
    if session.protection.was_begun:
        # Nor again after CCC: what goes in clear can be changed on its way.
        return Reply(534, "This connection has had its TLS.")

    try:
        context = await session.make_context()
    except (OSError, ssl.SSLError) as error:
        session.log("no TLS: %s", error)
        return Reply(431, "The certificate cannot be used now.")

    await session.data.aclose()
    session.refuse_more()
    session.protection.begin_after_reply(context)
    session.protection.protects_data = mechanism in {"SSL", "TLS-P"}
    session.protection.has_buffer_size = session.protection.protects_data
    return Reply(234, "Begin TLS now.")


@command("PBSZ size", needs_login=False, is_protection=True)
async def protection_buffer_size(session: Session, argument: str) -> Reply:
    """Take note that it came, as PROT requires; TLS has no such size (RFC 4217 §9)."""

    if not session.protection.was_begun:
        return Reply(503, "AUTH comes first.")
    if not (argument.isascii() and argument.isdigit() and len(argument) <= 10):  # noqa: PLR2004
        return Reply(501, "PBSZ takes a number.")

    session.protection.has_buffer_size = True
    return Reply(200, "PBSZ=0")


@command("PROT level", needs_login=False, is_protection=True)
async def protection_level(session: Session, argument: str) -> Reply:
    """Choose between data connections in clear and in TLS (RFC 4217 §9)."""

    if not session.protection.has_buffer_size:
        return Reply(503, "PBSZ comes first.")

    match argument.upper():
        case "P":
            protect = True
        case "C" if session.settings.require_tls:
            return Reply(534, "Data connections are protected here.")
        case "C":
            protect = False
        case "S" | "E":
            return Reply(536, "TLS has the levels C and P.")
        case _:
            return Reply(504, "There is no such level.")

    if protect != session.protection.protects_data:
        # What is prepared was prepared for the other level.
        await session.data.aclose()
    session.protection.protects_data = protect
    return Reply(200, f"PROT is {argument.upper()}.")


@command("CCC", needs_login=False, is_protection=True)
async def clear_command_channel(session: Session, _: str) -> Reply:
    """End TLS on the control connection after the reply: firewalls then see what goes on."""

    if not session.speaks_tls:
        return Reply(533, "The control connection is not protected.")
    if session.settings.require_tls:
        return Reply(534, "The control connection is protected here.")

    session.refuse_more()
    session.protection.end_after_reply()
    return Reply(200, "In clear from now on.")
