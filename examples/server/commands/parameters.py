"""What the next transfer will be like (RFC 959 §4.1.2, RFC 2428, RFC 3659 §5).

TYPE, STRU, MODE; PORT, EPRT, PASV, EPSV; REST, RANG, ALLO. REST and RANG are
good for the next transfer command and no other, whether it succeeds or not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ftpdata import (
    HostPort,
    RepresentationType,
    Structure,
    TransferParameters,
    TransmissionMode,
    connect_active,
)
from ftpdata.addresses import EPSV_ALL, parse_eprt, parse_epsv, parse_port
from ftpdata.codecs import check_supported
from ftpdata.errors import PeerRejected

from ..choices import Restart
from ..reply import Reply
from .table import command

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["can_restart", "parse_offset"]

# Not str.isdigit, and not int() alone: both know digits that are not ASCII.
_number = re.compile(r"[0-9]{1,19}")


def parse_offset(text: str) -> int | None:
    """Parse a number of bytes, from 0 to 2**63 - 1; None for anything else."""

    if _number.fullmatch(text) is None:
        return None

    offset = int(text)
    return offset if offset < 2**63 else None


def can_restart(parameters: TransferParameters) -> bool:
    """Tell whether a transfer can begin at an offset.

    In block and compressed mode an offset is a restart marker, of which this
    server makes a position in the file in any type (RFC 959 §3.5). In the
    others it counts bytes as the type has them (RFC 3659 §5.1): finding them in
    a file that is converted would take converting all that is before them.
    """

    if parameters.mode in (TransmissionMode.BLOCK, TransmissionMode.COMPRESSED):
        return True

    return (
        parameters.type in (RepresentationType.IMAGE, RepresentationType.LOCAL)
        and parameters.structure is Structure.FILE
    )


@command("TYPE type")
async def set_type(session: Session, argument: str) -> Reply:
    """Set the representation type."""

    return _set(session, session.choices.parameters.with_type(argument), "TYPE", argument)


@command("STRU structure")
async def set_structure(session: Session, argument: str) -> Reply:
    """Set the file structure."""

    return _set(session, session.choices.parameters.with_structure(argument), "STRU", argument)


@command("MODE mode")
async def set_mode(session: Session, argument: str) -> Reply:
    """Set the transmission mode."""

    return _set(session, session.choices.parameters.with_mode(argument), "MODE", argument)


def _set(session: Session, parameters: TransferParameters, name: str, argument: str) -> Reply:
    check_supported(parameters)
    session.choices.parameters = parameters
    return Reply(200, f"{name} is {argument.upper()}.")


@command("PORT h1,h2,h3,h4,p1,p2")
async def port(session: Session, argument: str) -> Reply:
    """Use an active data connection (IPv4)."""

    return await _prepare_active(session, parse_port(argument))


@command("EPRT |protocol|address|port|")
async def extended_port(session: Session, argument: str) -> Reply:
    """Use an active data connection (RFC 2428 §2)."""

    return await _prepare_active(session, parse_eprt(argument, supported=_families(session)))


async def _prepare_active(session: Session, target: HostPort) -> Reply:
    if session.data.epsv_only:
        return Reply(503, "Only EPSV, after EPSV ALL.")

    try:
        endpoint = connect_active(
            target,
            control_peer=session.peer,
            policy=session.settings.peer_policy,
            deadlines=session.settings.deadlines,
            tls=session.protection.data_tls,
            # From the address that the client knows, and that its firewall lets in.
            # Behind a proxy, the proxy has that address.
            local_address=None
            if session.settings.allow_fxp or session.addresses.proxy is not None
            else (session.addresses.local, 0),
            socket_options=session.settings.socket_options,
            observer=session.settings.observer,
        )
    except PeerRejected as error:
        session.log("PORT refused: %s", error.message)
        # RFC 2577 §3: as a parameter that is not implemented.
        return Reply(504, "No data connection goes there.")

    await session.data.prepare(endpoint)
    return Reply(200, "PORT is set.")


@command("PASV")
async def passive(session: Session, _: str) -> Reply:
    """Listen for the data connection (IPv4)."""

    if session.data.epsv_only:
        return Reply(503, "Only EPSV, after EPSV ALL.")
    if ":" in session.peer:
        return Reply(502, "PASV is for IPv4. Use EPSV.")

    return Reply.parse(await session.shared.ports.pasv(session))


@command("EPSV [protocol]")
async def extended_passive(session: Session, argument: str) -> Reply:
    """Listen for the data connection (RFC 2428 §3)."""

    if parse_epsv(argument, supported=_families(session)) == EPSV_ALL:
        session.data.epsv_only = True
        return Reply(200, "Only EPSV from now on.")

    return Reply.parse(await session.shared.ports.epsv(session))


def _families(session: Session) -> tuple[int, ...]:
    """Return the address families that can be used: that of the control connection."""

    return (2,) if ":" in session.peer else (1,)


@command("REST offset")
async def restart(session: Session, argument: str) -> Reply:
    """Begin the next transfer at an offset, or at a restart marker (see `can_restart`).

    The markers of this server are offsets: those in the blocks that RETR
    sends, and those in the 110 replies to what STOR receives.
    """

    offset = parse_offset(argument)
    if offset is None:
        return Reply(501, "REST takes a number of bytes, or a marker that this server gave.")
    if offset and not can_restart(session.choices.parameters):
        return Reply(501, "REST is for TYPE I and STRU F, or for MODE B and MODE C.")

    session.choices.restart = Restart(offset)
    return Reply(350, f"Restarting at {offset}. Send the transfer command.")


@command("RANG start end")
async def byte_range(session: Session, argument: str) -> Reply:
    """Limit the next RETR, STOR or HASH to a range; both ends belong to it.

    draft-bryan-ftp-range. Only where the bytes of the file are those on the
    connection: "RANG STREAM".
    """

    session.choices.restart = Restart()
    first, _, second = argument.partition(" ")
    start, end = parse_offset(first), parse_offset(second)
    if start is None or end is None:
        return Reply(501, "RANG takes the first and the last byte.")
    if (start, end) == (1, 0):
        return Reply(350, "The whole file again.")
    if start > end:
        return Reply(501, "The range ends before it begins.")
    if not session.choices.parameters.is_identity:
        return Reply(551, "RANG is for TYPE I, STRU F and MODE S.")

    session.choices.restart = Restart(start, end + 1)
    return Reply(350, f"Restarting at {start}. End byte range at {end}.")


@command("ALLO bytes")
async def allocate(session: Session, argument: str) -> Reply:
    """Say whether an upload of this size has room. Nothing is set aside for it."""

    size = parse_offset(argument.partition(" ")[0])
    if size is None:
        return Reply(501, "ALLO takes a number of bytes.")
    if session.quota is not None:
        await session.quota.check(size)
    if size > await session.store.free_space():
        return Reply(452, "Not enough space.")

    return Reply(200, "There is room.")
