r"""A whole FTP server on top of ftpdata, to be read, run, and copied.

``python -m examples.server DIRECTORY --anonymous`` serves a directory, ``--store s3://bucket`` in
its place a bucket; ``--help`` shows all options. What ftpdata does (the data connection) is
imported; what every server does for itself (commands, accounts, files) is here. What follows is a
way to a server of your own; behind it stands what is where in this one.

## A server in an hour

**1. A control connection, and one command that sends.** A server reads a command, carries it out,
and sends a reply (RFC 959 §5.4). PASV makes an endpoint, RETR gives it to a transfer, and whatever
goes wrong there is an error that carries its reply. This is all that ``ftplib`` needs to download::

    import anyio
    from anyio.abc import SocketAttribute
    from anyio.streams.buffered import BufferedByteReceiveStream

    import ftpdata
    from ftpdata.files import opened_beneath

    class Session:
        def __init__(self, stream, options):
            self.stream, self.options = stream, options
            self.lines = BufferedByteReceiveStream(stream)
            self.host = stream.extra(SocketAttribute.local_address)[0]
            self.peer = stream.extra(SocketAttribute.remote_address)[0]
            self.endpoint = None  # after PASV

        async def run(self):
            reply = "220 Ready."
            while not reply.startswith("221"):
                await self.reply(reply)
                line = (await self.lines.receive_until(b"\n", 4096)).decode().strip("\r")
                command, _, argument = line.partition(" ")
                try:
                    reply = await self.answer(command.upper(), argument)
                except ftpdata.FTPDataError as error:
                    reply = error.reply  # 425, 426, 451, 550, ...: whatever is true
            await self.reply(reply)

        async def reply(self, text):
            await self.stream.send(f"{text}\r\n".encode())

        async def answer(self, command, argument):
            match command:
                case "USER":
                    return "331 Your password?"
                case "PASS":
                    return "230 Welcome."
                case "TYPE":
                    return "200 Done."
                case "PASV":
                    await self.aclose()
                    self.endpoint = await ftpdata.listen_passive(self.host, control_peer=self.peer)
                    return ftpdata.format_pasv_reply(self.endpoint.address)
                case "RETR":
                    async with opened_beneath(self.options.directory, argument) as file:
                        return await self.transfer(ftpdata.send_file, file=file)
                case "QUIT":
                    return "221 Goodbye."
            return "502 Not here."

        async def transfer(self, move, **what):
            endpoint, self.endpoint = self.endpoint, None
            if endpoint is None:
                return "425 Say PASV first."
            async with endpoint:
                await self.reply("125 Go." if endpoint.is_ready else "150 Connect.")
                result = await move(endpoint, **what)
            return f"226 {result.bytes} bytes."

        async def aclose(self):  # no transfer came
            if self.endpoint is not None:
                await self.endpoint.aclose()

`opened_beneath` opens what a client's path means, and nothing outside of the directory, whatever
links and ``..`` there are. This tries it, and each step below::

    import contextlib
    import ftplib
    import tempfile
    from argparse import Namespace
    from pathlib import Path

    async def trying(kind, client, directory, *, user="ann:secret", certificate=None):
        options = Namespace(directory=str(directory), user=user, certificate=certificate)

        async def handle(stream):
            with contextlib.suppress(anyio.EndOfStream):
                async with stream, contextlib.aclosing(kind(stream, options)) as session:
                    await session.run()

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener, anyio.create_task_group() as sessions:
            sessions.start_soon(listener.serve, handle)
            await anyio.to_thread.run_sync(client, listener.extra(SocketAttribute.local_port))
            sessions.cancel_scope.cancel()

    @contextlib.contextmanager
    def logged_in(port, ftp=None):
        with ftp or ftplib.FTP() as ftp:
            ftp.connect("127.0.0.1", port)
            ftp.login("ann", "secret")
            yield ftp

    def download(port):
        with logged_in(port) as ftp:
            data = []
            ftp.retrbinary("RETR file", data.append)
            assert b"".join(data) == b"content"

    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "file").write_bytes(b"content")
        anyio.run(trying, Session, download, directory)

**2. The commands of every client.** ``examples/minimal_server.py`` is this session with what is
missing, in 250 lines: accounts, directories, LIST and NLST, TYPE, STOR, EPSV, AUTH TLS, a deadline
for every wait, and an end. Read it now; the steps that follow add to it. A listing is one more
transfer, so MLSD is::

    from examples import minimal_server

    class WithMlsd(minimal_server.Session):
        async def answer(self, command, argument):
            if command != "MLSD" or not self.is_logged_in:
                return await super().answer(command, argument)

            async with opened_beneath(self.root, argument or "/", is_directory=True) as listed:
                lines = ftpdata.list_directory(listed, ftpdata.MlsxFormatter())
                return await self.transfer(ftpdata.send_listing, lines=lines)

    def list_(port):
        with logged_in(port) as ftp:
            assert [name for name, facts in ftp.mlsd()] == ["file"]

    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "file").write_bytes(b"content")
        anyio.run(trying, WithMlsd, list_, directory)

**3. Uploads that can be resumed.** ``receive_file`` publishes an upload only whole: that is what
STOR of the minimal server does. Given an owner of parts, what came of an upload that is cut stays,
hidden, and SIZE and REST let its client go on (the guide of `ftpdata.files` has the rules)::

    import io
    import os
    import socket
    import struct

    from ftpdata.files import PartStore

    class WithParts(WithMlsd):
        offset = 0

        async def answer(self, command, argument):
            if not self.is_logged_in or command not in ("REST", "SIZE", "STOR"):
                return await super().answer(command, argument)
            if command == "REST":
                if not (argument.isascii() and argument.isdigit() and len(argument) < 19):
                    return "501 Not a number of bytes."
                self.offset = int(argument)
                return f"350 From {argument} on."

            offset, self.offset = self.offset, 0
            with PartStore(self.root) as store:  # a server has one for all sessions
                owner = store.owner(self.name)
                async with opened_beneath(self.root, "/", is_directory=True) as top:
                    # No directories here: the argument is a name.
                    if command == "STOR":
                        file = {"target": argument, "dir_fd": top}
                        file |= {"offset": offset, "resume": owner}
                        return await self.transfer(ftpdata.receive_file, **file)
                    part = await anyio.to_thread.run_sync(
                        lambda: owner.look(argument, dir_fd=top)
                    )
            return f"213 {part.size}" if part else await super().answer(command, argument)

    CONTENT = os.urandom(1_000_000)

    def upload(port):
        with logged_in(port) as ftp:
            ftp.voidcmd("TYPE I")
            data = ftp.transfercmd("STOR copy")
            data.sendall(CONTENT[:600_000])
            data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            data.close()  # a reset: the line breaks
            with contextlib.suppress(ftplib.error_temp):
                ftp.voidresp()  # 426
        with logged_in(port) as ftp:
            ftp.voidcmd("TYPE I")
            try:
                size = ftp.size("copy")
            except ftplib.error_perm:
                size = 0  # nothing had come
            ftp.storbinary("STOR copy", io.BytesIO(CONTENT[size:]), rest=size)

    with tempfile.TemporaryDirectory() as directory:
        anyio.run(trying, WithParts, upload, directory)
        assert Path(directory, "copy").read_bytes() == CONTENT

The reference server tells a byte less than there is, since a client that is told the size of its
own file sends nothing more; lets a part go when a newer file has its name; and refuses the names of
parts. ``transfer``, ``places`` and ``disk`` here have all of that.

**4. TLS.** With ``--certificate`` the minimal server takes AUTH TLS and PROT P: each session has a
context of its own, and `ftpdata.DataTLS` binds its data connections to it. This requires that they
resume the session, which most clients do; ``ftplib`` has to be told::

    import attrs
    import ssl
    import trustme

    class WithReuse(WithParts):
        async def begin_tls(self):
            await super().begin_tls()
            self.tls = attrs.evolve(self.tls, reuse=ftpdata.SessionReuse.REQUIRED)

    class Resuming(ftplib.FTP_TLS):
        def ntransfercmd(self, cmd, rest=None):
            data, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
            session = self.sock.session
            return self.context.wrap_socket(data, server_hostname=self.host, session=session), size

    def protected(port):
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        with logged_in(port, Resuming(context=context)) as ftp:
            ftp.prot_p()
            data = []
            ftp.retrbinary("RETR file", data.append)
            assert b"".join(data) == b"content"

    AUTHORITY = trustme.CA()  # in earnest, a certificate of Let's Encrypt or of your own authority
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "file").write_bytes(b"content")
        certificate = Path(directory, "server.pem")
        issued = AUTHORITY.issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(certificate)

        async def with_tls():
            await trying(WithReuse, protected, directory, certificate=str(certificate))

        anyio.run(with_tls)

**5. Accounts and limits.** Whom to let in is one method. The one here asks an object with a
coroutine, as the reference server does, so a database or an LDAP directory can take its place
(`accounts`). `ftpdata.limits` counts wrong passwords, transfers, connections and listeners; a tree
of `ftpdata.TokenBucket` bounds rates::

    from ftpdata.limits import FailedAttempts
    from examples.server.accounts import PasswordTable

    class WithAccounts(WithReuse):
        accounts = PasswordTable([("ann", "secret")])
        failures = FailedAttempts(limit=10)  # of one address, in a minute
        bucket = None

        async def log_in(self, password):
            if self.options.certificate and self.tls is None:
                return "530 Say AUTH TLS first."
            now = anyio.current_time()
            if self.failures.blocked_for(self.peer, now=now):
                return "421 Too many wrong passwords."
            account = await self.accounts.check(self.name, password, peer=self.peer)
            if account is None:
                self.failures.record(self.peer, now=now)
                return "530 No."
            self.is_logged_in = True
            self.bucket = ftpdata.TokenBucket(50_000_000, now=now)  # bytes per second
            return "230 Welcome."

        async def transfer(self, move, **what):
            return await super().transfer(move, throttle=self.bucket, **what)

    def wrong(port):
        with ftplib.FTP() as ftp:
            ftp.connect("127.0.0.1", port)
            for guess in range(12):
                try:
                    ftp.login("ann", f"{guess}")
                except ftplib.Error as error:
                    reply = str(error)
            assert reply.startswith("421")

    with tempfile.TemporaryDirectory() as directory:
        anyio.run(trying, WithAccounts, wrong, directory)
    WithAccounts.failures.forgive("127.0.0.1")

**6. Metrics and logs.** An observer sees each transfer (`ftpdata.observers`), and the subject of an
endpoint tells it whose it is. This one has Prometheus' metrics; `start_http_server` of
``prometheus_client`` makes a page of them::

    from prometheus_client import CollectorRegistry, generate_latest

    from ftpdata.observers import LoggingObserver, ObserverGroup, Subject
    from ftpdata.observers.prometheus import PrometheusObserver

    REGISTRY = CollectorRegistry()

    class Watched(WithAccounts):
        observer = ObserverGroup(LoggingObserver(), PrometheusObserver(registry=REGISTRY))

        async def answer(self, command, argument):
            if self.endpoint is not None:
                self.endpoint.observer = self.observer
                self.endpoint.subject = Subject(command=command, name=argument, user=self.name)
            return await super().answer(command, argument)

    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "file").write_bytes(b"content")
        anyio.run(trying, Watched, download, directory)
    page = generate_latest(REGISTRY).decode()
    assert 'ftpdata_transfers_total{direction="sent",end="clean"} 1.0' in page

**7. What is left.** Check it: ``python -m ftpdata.testing 127.0.0.1 2121 --user ann:secret`` says
what a server gets wrong (`ftpdata.testing`). Commands during a transfer (ABOR, STAT, NOOP, QUIT)
need a session that reads on while a transfer runs: `session`. Few passive ports, NAT and load
balancers: the guide of `ftpdata.opening`, and `passive`. Ending without cutting anybody:
`listening`. Several processes and machines: `gunicorn_worker` and `cluster`. Files that are no
files of a disk: "Stores of your own" in the guide of `ftpdata.files`.

## Coming from pyftpdlib

pyftpdlib is a server whose classes one derives from; ftpdata is the data connection alone, and this
package is a server around it. So most of pyftpdlib's settings are `Settings` here, and options of
the command line; in a server of your own, they are arguments of ftpdata's:

- ``DTPHandler``, ``PassiveDTP``, ``ActiveDTP``: an `ftpdata.Endpoint`, of `ftpdata.listen_passive`
  or `ftpdata.connect_active`, and a function that moves a file (`ftpdata.send_file`). Nothing has
  to be derived; an upload that is reset is an error, and never a 226.
- ``DTPHandler.timeout``, ``PassiveDTP.timeout``, ``ActiveDTP.timeout``: `ftpdata.Deadlines`, with
  ``stall`` (300 s as well) and ``open`` (30 s as well), and four more.
- ``DTPHandler.ac_in_buffer_size``, ``use_sendfile``, ``tcp_no_delay``: nothing to set. ``sendfile``
  is used wherever it can be, also with a limit of rate; TCP_NODELAY is on
  (`ftpdata.SocketOptions`).
- ``ThrottledDTPHandler.read_limit`` and ``write_limit``: a `ftpdata.TokenBucket` for each transfer,
  or one above those of a user, or of all. ``--rate`` is of a session, both ways together.
- ``passive_ports``: a `ftpdata.PortRange`, or a `ftpdata.ListenerPool` that shares it.
  ``--passive-ports``.
- ``masquerade_address``, ``masquerade_address_map``: an `ftpdata.Advertiser`. The map is by local
  address there; here an `ftpdata.AddressTable` is by the client's network. ``--advertise``.
- ``permit_foreign_addresses``: ``policy=PeerPolicy.any()``, or better `PeerPolicy.allow` with the
  sites that are known. ``--allow-fxp``.
- ``permit_privileged_ports``: ``PeerPolicy.exact(privileged_ports=True)``.
- ``on_file_sent``, ``on_incomplete_file_sent``, ``on_incomplete_file_received``:
  `ftpdata.observers.Observer.ended`, with the result, or what follows the call of the transfer.
- ``on_file_received``: `ftpdata.observers.PublishedObserver`, which is called once an upload has
  its name; `Observer.before_publish` may refuse it before.
- ``on_login``, ``on_logout``, ``on_connect``, ``on_disconnect``: events of the control connection;
  `session` is where they happen here.
- ``AbstractedFS``: `store` is the interface of this server. ``validpath``, ``ftp2fs`` and ``open``
  became `ftpdata.files.opened_beneath`, which follows no link out of the directory;
  ``format_list`` and ``format_mlsx`` became `ftpdata.ListFormatter` and `ftpdata.MlsxFormatter`. An
  upload into anything else is an `ftpdata.UploadTarget`.
- ``DummyAuthorizer``: `accounts`, whose `Rights` have words in place of the letters ``elradfmwMT``.
- ``TLS_FTPHandler`` with ``certfile`` and ``keyfile``, ``TLS_DTPHandler``: an
  `ftpdata.ServerCertificate`, and `ftpdata.DataTLS` for each session. ``--tls-cert``,
  ``--tls-key``. ``tls_control_required`` and ``tls_data_required`` are ``--require-tls``.
- ``FTPServer.max_cons`` and ``max_cons_per_ip``, ``max_login_attempts``, ``auth_failed_timeout``:
  ``max_sessions``, ``max_sessions_per_address``, ``max_login_failures`` and ``login_delay`` of
  `settings`. ``max_cons`` counts data connections and listeners, too; here ``limits`` does.
- ``ThreadedFTPServer``, ``MultiprocessFTPServer``: one event loop serves many clients, and a disk
  never blocks it; for more cores, `gunicorn_worker`.

## What is where

Read this server in this order:

* `telnet`, `reply`: bytes to command lines, replies to bytes.
* `control`: the control connection, which carries both, through `control_tls` if
  the client wants TLS.
* `session`: one client: which command runs, which commands wait, what acts on a
  transfer at once (ABOR, STAT, NOOP). It has a `login`, its `protection` (TLS), and
  the `choices` for the transfers that follow.
* `transfer`: the data connection of a session, from PASV or PORT to the one
  final reply. `passive`: where passive connections come in.
* `commands`: what each command does, in the groups of RFC 959 §4.1. `listings`: what
  LIST and its relatives show. `failures`: how an error becomes a reply.
* `store`: what commands want of a store. `disk`: the served directory, with `memory`
  as its fast way. `objects`: the bucket that is served in its place. `paths`: virtual paths.
  `accounts`: who may log in, and what a user may do then. `rates` and `quota`: how fast, and how
  much. `hosts`: what several names of one server stand for. `certificates`: theirs, renewed.
* `server`: accepting clients, limits, and how it all ends. `listening`: the sockets that
  clients connect to. `places`: how many sessions there may be, and `attempts` how many
  wrong passwords. `settings`: what can be set, and `command_line` what of that has an option.
* `observing`: logs, `metrics` and the `live` screen.
* `gunicorn_worker`: several processes on one host. `cluster`: what several hosts count together.
"""

from __future__ import annotations

__all__: list[str] = []
