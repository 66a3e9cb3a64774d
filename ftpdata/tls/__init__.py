"""TLS on data connections (PROT P, RFC 4217), bound to the control connection.

A server that has protected its control connection makes a `DataTLS` from it, and passes
that as `tls` to every endpoint of the session. The endpoint then does the handshake::

    import asyncio

    from ftpdata import listen_passive, send_file
    from ftpdata.tls import DataTLS, ServerCertificate, SessionReuse

    certificate = ServerCertificate(certificate="server.pem")

    async def auth_tls(writer: asyncio.StreamWriter) -> DataTLS:
        context = certificate.session_context()  # one for each control session
        await writer.start_tls(context)
        return DataTLS.for_server(context, reuse=SessionReuse.REQUIRED)

    async def retr(tls: DataTLS, path: str) -> None:
        endpoint = await listen_passive("192.0.2.1", control_peer="198.51.100.7", tls=tls)
        ...  # the reply to PASV or EPSV
        await send_file(endpoint, path)

A client calls `DataTLS.for_client` with the session of its control connection.

The pieces:

- `ServerCertificate`: the certificate and key, and a new `ssl.SSLContext` for each control
  session, so that no other client's TLS session can open its data connections;
- `DataTLS`: how the data connections of one control session are protected;
- `SessionReuse`: whether a data connection must resume the TLS session of its control
  connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .policy import DataTLS, ServerCertificate, SessionReuse

__all__ = [
    "DataTLS",
    "ServerCertificate",
    "SessionReuse",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "policy": ("DataTLS", "ServerCertificate", "SessionReuse"),
        },
    )
