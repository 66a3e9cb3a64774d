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

A client calls `DataTLS.for_client` with the session of its control connection::

    import ssl

    def protect(control: ssl.SSLObject, host: str) -> DataTLS:
        # The newest session: in TLS 1.3, a ticket comes after the handshake.
        return DataTLS.for_client(control.context, session=control.session, server_hostname=host)

With anyio, ``control`` is ``stream.extra(TLSAttribute.ssl_object)``; with asyncio's streams, it is
``writer.get_extra_info("ssl_object")``. ``examples/minimal_server.py`` and
``examples/client/client.py`` have both ends from AUTH TLS to the transfer. To try TLS without an
authority, the package trustme makes certificates::

    import tempfile
    from pathlib import Path

    import trustme

    from ftpdata import connect_active, receive_file

    async def main(directory: Path) -> None:
        authority = trustme.CA()
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
            directory / "server.pem"
        )
        certificate = ServerCertificate(certificate=directory / "server.pem")
        context = ssl.create_default_context()
        authority.configure_trust(context)

        # Without a control connection there is no session to resume.
        of_server = DataTLS.for_server(certificate.session_context(), reuse=SessionReuse.WANTED)
        of_client = DataTLS.for_client(context, session=None, server_hostname="localhost")
        server = await listen_passive("127.0.0.1", control_peer="127.0.0.1", tls=of_server)
        client = connect_active(server.address, control_peer="127.0.0.1", tls=of_client)
        sent, _ = await asyncio.gather(
            send_file(server, "README.md"), receive_file(client, directory / "copy")
        )
        assert sent.tls_version == "TLSv1.3"
        assert not sent.tls_resumed

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(Path(directory)))

The pieces:

- `ServerCertificate`: the certificate and key, and a new `ssl.SSLContext` for each control
  session, so that no other client's TLS session can open its data connections;
- `DataTLS`: how the data connections of one control session are protected;
- `SessionReuse`: whether a data connection must resume the TLS session of its control
  connection.

## Who resumes, and who cannot

TLS is bound to a control session by the context: a ticket of another client was made by another
context and does not resume. `SessionReuse.REQUIRED` then refuses every data connection that does
not resume; clients that cannot resume need `SessionReuse.WANTED`. Two clients behind one address
never get each other's connection by mistake; on purpose, only required reuse prevents it.

Most clients use the TLS 1.3 ticket of their control connection again and again. Some use a ticket
only once, as RFC 8446 §C.4 advises; if reuse is required, they need a new ticket for each data
connection. They get one in two ways:

- Each data connection brings the ticket for the next one, at a moment when it can do no harm. A
  client that closes with a ticket unread resets its own upload. So the ticket goes out with the
  first data of a download or listing, and after an upload together with the server's end of TLS.
  PHP takes its tickets from there.
- curl and Ruby's Net::FTP close their uploads without reading. For such clients
  `DataTLS.renew_ticket` sends a ticket on the control connection. The only way that Python has for
  this is to ask the client for a certificate once more (RFC 8446 §4.6.2); the client answers that
  it has none. Only clients that allow it are asked. A client that does have a certificate, which no
  authority of the server has signed, is cut off.

Perl's Net::FTP uses each ticket once, closes its uploads without reading, and cannot be asked: in
TLS 1.3 it gets two uploads for each login. For such clients let the server speak TLS 1.2 at most,
whose sessions are used again and again: ``--tls-max 1.2`` of the reference server, or
``ServerCertificate(maximum_version=ssl.TLSVersion.TLSv1_2)``. PHP's ``ftp_ssl_connect`` resumes,
its ``ftps://`` streams do not, in any version of TLS. rclone, like any client of Go's TLS with one
cache for all its connections, offers the ticket of another of its sessions, which does not resume
here: let it use one connection (``--ftp-concurrency 1``), or do not require reuse.

## When a handshake begins, and when a transfer is over

A passive connection starts its handshake as soon as the client does, whether or not the client
waits for the reply to its command: aioftp does not, and curl loses 200 ms if it has to. No deadline
passes before the transfer command comes.

A download is complete when the peer's kernel has acknowledged everything up to the close_notify,
even where a reset follows: a client that knows the size need not read the close_notify, and closing
without reading it sends a reset. An upload is complete when the client has sent its own
close_notify, and in no other case.

ftpdata drives the TLS of data connections itself, above the socket. The event loop's own TLS hides
how a peer has ended, and differs from loop to loop (``ftpdata/tls/_transport.py``).
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
