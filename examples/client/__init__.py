r"""A client of FTP on top of ftpdata, to be run, read, and copied.

## A client in ten minutes

To run it, nothing has to be written::

    python -m examples.client get ftps://ftp.example.org/pub/file
    python -m examples.client put file ftp://user:password@ftp.example.org/incoming/
    python -m examples.client put --continue file ftp://user:password@ftp.example.org/incoming/
    python -m examples.client --tls ls ftp://ftp.example.org/pub/
    python -m examples.client mirror ftp://ftp.example.org/pub pub --connections 8

``ftps://`` is TLS from the first byte, ``--tls`` AUTH TLS. A download that was cut goes on where it
was cut when it is asked for again, and ``--verify`` compares digests afterwards, where the server
has HASH.

In a program, a `Client` is a session, and `files` has what the commands above do. The programs here
start a server of their own to have one to talk to; take its address for the one of yours::

    import asyncio
    import tempfile
    from pathlib import Path

    import anyio

    from examples.client.client import Client, Security, Server
    from examples.client.files import get, list_directory, put
    from examples.server.accounts import PasswordTable
    from examples.server.disk import DiskStore
    from examples.server.server import Server as ReferenceServer
    from examples.server.settings import Settings

    async def trying(work, **settings):
        with tempfile.TemporaryDirectory() as served, tempfile.TemporaryDirectory() as here:
            Path(served, "file").write_bytes(b"content" * 100_000)
            store = DiskStore(served)
            accounts = PasswordTable([PasswordTable.parse("ann:secret")])
            server = ReferenceServer(store, Settings(accounts=accounts, writable=True, **settings))
            async with anyio.create_task_group() as tasks:
                host, port = await tasks.start(server.run, "127.0.0.1", 0)
                await work(Server(host, port=port, user="ann", password="secret"), Path(here))
                server.stop()
            store.close()

    def show(done, total):
        print(f"{done} of {total or '?'} bytes")

    async def first_session(server, here):
        async with await Client.connect(server) as client:
            result = await get(client, "/file", here / "file", progress=show)
            assert result.file_bytes == 700_000
            await put(client, here / "file", "/copy", progress=show)
            listing = await list_directory(client, "/")
            assert sorted(entry.name for entry in listing.entries) == ["copy", "file"]

    asyncio.run(trying(first_session))

`get` gives the file its name when it is whole and the server has said so, and goes on with what
came before (REST), if the server still has the same version. To send only what is missing, ask for
the size first::

    from examples.client.files import facts_of

    async def resume(server, here):
        (here / "file").write_bytes(b"content" * 100_000)
        async with await Client.connect(server) as client:
            (here / "half").write_bytes(b"content" * 50_000)
            await put(client, here / "half", "/upload")  # as if the rest had not come
            facts = await facts_of(client, "/upload", by_size=True)  # MLST, or SIZE
            await put(client, here / "file", "/upload", offset=facts.size)
            assert (await facts_of(client, "/upload", by_size=True)).size == 700_000

    asyncio.run(trying(resume))

TLS is one attribute of the server; every data connection then resumes the session of the control
connection. Here the certificate is one that trustme makes, for a server that insists on that::

    import trustme

    from ftpdata import ServerCertificate

    async def main_with_tls():
        with tempfile.TemporaryDirectory() as directory:
            authority, certificate = Path(directory, "ca.pem"), Path(directory, "server.pem")
            ca = trustme.CA()
            ca.cert_pem.write_to_path(authority)
            ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)

            async def session(server, here):
                server = Server(
                    server.host,
                    Security.EXPLICIT,
                    port=server.port,
                    user="ann",
                    password="secret",
                    ca_file=str(authority),
                )
                async with await Client.connect(server) as client:
                    result = await get(client, "/file", here / "file")
                    assert result.tls_resumed

            await trying(
                session,
                certificate=ServerCertificate(certificate=certificate),
                require_tls=True,
                require_session_reuse=True,
            )

    asyncio.run(main_with_tls())

A mirror makes a directory like another one, over several connections, and a second run copies only
what has changed. What it could not copy is in ``failures``::

    from examples.client.mirror import Mirror

    async def twice(server, here):
        mirror = await Mirror(server, connections=2).download("/", here)
        assert (mirror.transferred, mirror.failures) == (1, [])
        again = await Mirror(server, connections=2).download("/", here)
        assert (again.transferred, again.same) == (0, 1)

    asyncio.run(trying(twice))

## With the library alone

What `client` does around ftpdata is a control connection. In its shortest form, for one download,
it is this: ask for a port, send the command and connect, in any order; then receive the file, and
read the reply that ends the command. Both have to succeed::

    from ftpdata import HostPort, connect_active, receive_file
    from ftpdata.addresses import parse_epsv_reply

    async def reply(reader, kind):
        text = line = (await reader.readline()).decode()
        while line[3:4] == "-" or line[:3] != text[:3]:  # several lines (RFC 959 §4.2)
            line = (await reader.readline()).decode()
        if not text.startswith(kind):
            raise RuntimeError(f"the server said {text!r}")
        return text

    async def download(server, here):
        reader, writer = await asyncio.open_connection(server.host, server.port)

        async def command(line, kind):
            writer.write(f"{line}\r\n".encode())
            return await reply(reader, kind)

        await reply(reader, "2")
        await command(f"USER {server.user}", "3")
        await command(f"PASS {server.password}", "2")
        await command("TYPE I", "2")
        peer = writer.get_extra_info("peername")[0]
        port = parse_epsv_reply(await command("EPSV", "2"))
        async with connect_active(HostPort(peer, port), control_peer=peer) as endpoint:
            await command("RETR /file", "1")
            result = await receive_file(endpoint, here / "file", progress=show)
        await reply(reader, "2")
        assert result.file_bytes == 700_000
        writer.close()
        await writer.wait_closed()

    asyncio.run(trying(download))

STOR is the same with `ftpdata.send_file`. For LIST and MLSD, `ftpdata.receive_stream` gives the
bytes, and the parsers of `ftpdata.listing` read the lines. TLS is in the guide of `ftpdata.tls`.

## What is here

What ftpdata does (the data connection, listings, files that appear only when they are whole) is
imported; what every client does for itself is here:

* `client`, with `replies`: the core, to be copied: login, TLS that resumes its session on every
  data connection, EPSV, PASV, EPRT or PORT, whichever the server has, and ABOR. At most 500 lines,
  which need nothing else of this package.
* `files`: what the commands about files and directories are; parts, and files that get their name
  when they are whole and the server has said so, and that are gone on with (REST) if the server
  still has the same version.
* `persistent`: a session that is made anew when it is lost, and looks at what the server has before
  it sends anything again.
* `pipelining`: sessions that ask for the next data connection early, for mirrors.
* `segments`: one file over several connections.
* `mirror`: a directory and all below it, in either direction; `plan` decides what it does. No name
  of a server leads out of the directory, and a refused file stops nothing.
* `location`: URLs and ``~/.netrc``.
* `command_line`: the program.

Lines, replies and listings have bounds, and every wait has a deadline. ``tests/interop/servers.md``
has what it does with nine servers.
"""

from __future__ import annotations

__all__: list[str] = []
