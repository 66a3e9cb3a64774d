"""Files in every TYPE, STRU and MODE, for tests of transfers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from ftpdata.codecs.options import CodecOptions
from ftpdata.codecs.representation import ExistingCRLF
from ftpdata.codecs.selection import decoder_for, encoder_for
from ftpdata.connection.protocol import DTP
from ftpdata.deadlines import Deadlines
from ftpdata.errors import FTPDataError
from ftpdata.opening.active import connect_active
from ftpdata.opening.passive import listen_passive
from ftpdata.parameters import RepresentationType, Structure, TransferParameters, TransmissionMode
from ftpdata.tls.policy import DataTLS, SessionReuse
from tests.harness.tls import HOST_NAME, client_context, server_certificate

__all__ = ["EVERY", "EXACT", "decoded", "dtp_pair", "encoded", "name_of"]

EVERY = [
    TransferParameters(type=kind, structure=structure, mode=mode)
    for kind, structure, mode in itertools.product(
        RepresentationType, (Structure.FILE, Structure.RECORD), TransmissionMode
    )
]
"""Every combination that has an encoder."""

EXACT = CodecOptions(existing_crlf=ExistingCRLF.DOUBLE, close_last_record=False)
"""With these options, every file comes back byte for byte."""

HOST = "127.0.0.1"
QUICK = Deadlines(open=5, handshake=5, first_byte=5, stall=5, close=5)


def name_of(parameters: TransferParameters) -> str:
    """Return a name of parameters by their letters."""

    return f"{parameters.type.value}{parameters.structure.value}{parameters.mode.value}"


def encoded(
    parameters: TransferParameters, file: bytes, *, options: CodecOptions = EXACT, offset: int = 0
) -> bytes:
    """Return a file's bytes on the connection."""

    encoder = encoder_for(parameters, options=options, offset=offset)
    return b"".join([*encoder.feed(file), *encoder.finish()])


def decoded(
    parameters: TransferParameters, sent: bytes, *, options: CodecOptions = EXACT
) -> bytes:
    """Return the file that the bytes on the connection stand for."""

    decoder = decoder_for(parameters, options=options)
    return b"".join([*decoder.feed(sent), *decoder.finish()])


@contextlib.asynccontextmanager
async def dtp_pair(*, tls: bool = False) -> AsyncIterator[tuple[DTP, DTP]]:
    """Yield both ends of a data connection, the listener's first; close both at the end."""

    server = client = None
    if tls:
        context = server_certificate().session_context()
        server = DataTLS.for_server(context, reuse=SessionReuse.OFF)
        client = DataTLS.for_client(
            client_context(), session=None, server_hostname=HOST_NAME, reuse=SessionReuse.OFF
        )

    async with await listen_passive(HOST, control_peer=HOST, tls=server, deadlines=QUICK) as here:
        there = connect_active(here.address, control_peer=HOST, tls=client, deadlines=QUICK)
        async with there:
            dtps = await asyncio.gather(here.open(), there.open())
            try:
                yield dtps
            finally:
                for dtp in dtps:
                    dtp.abort()
                    with contextlib.suppress(FTPDataError):
                        await dtp.wait_closed()
