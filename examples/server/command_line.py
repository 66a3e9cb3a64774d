"""The command line of ``python -m examples.server``: what it may say, and what that means."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NoReturn, TypeVar

import attrs

from ftpdata import FTPDataError, PortRange, ServerCertificate, TrustedProxies
from ftpdata.codecs import RecordFile, ebcdic_code_page
from ftpdata.observers import Observer

from .accounts import Accounts, PasswordTable
from .disk import DiskStore
from .hosts import VirtualHost, host_name
from .observing import observing
from .settings import GRACE, Replies, Settings, Uploads
from .store import Store

__all__ = ["CommandLine"]

_T = TypeVar("_T")

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
"""What `--tls-max` may say."""

_HOST_FORM = "NAME[,cert=FILE][,key=FILE][,accounts=URL][,directory=PATH]"


@attrs.frozen
class CommandLine:
    """The arguments of one command line.

    What is wrong with them ends the program: each method may raise `SystemExit`.

    Attributes:
        options: The values of the options.
    """

    options: argparse.Namespace
    _parser: argparse.ArgumentParser

    @classmethod
    def parse(cls, arguments: Sequence[str] | None = None) -> CommandLine:
        """Parse arguments; by default those of the program."""

        parser = _parser()
        options = parser.parse_args(arguments)
        if options.accounts is not None and (options.anonymous or options.user):
            parser.error("--accounts says who may log in: give no --anonymous and no --user")
        if options.accounts is None and not options.anonymous and not options.user:
            parser.error("nobody could log in: give --anonymous or --user NAME:PASSWORD")
        if (options.directory is None) == (options.store is None):
            parser.error("expected one thing to serve: DIRECTORY, or --store URL")
        if options.store is None and options.store_rename:
            parser.error("--store-rename is for --store: a directory renames by itself")
        if options.cluster is not None:
            try:
                # It needs a package of its own.
                from .cluster import ValkeyCounters  # noqa: PLC0415

                ValkeyCounters(options.cluster)
            except (ImportError, ValueError) as error:
                # Not with the URL, in which there may be a password.
                parser.error(f"cannot use --cluster: {error}")
        if options.store is not None and options.uploads not in (None, Uploads.ATOMIC.value):
            parser.error("an object is written as a whole: --store leaves --uploads atomic")

        return cls(options, parser)

    def set_up_logging(self) -> None:
        """Log to the standard error, as the options say."""

        level = logging.WARNING if self.options.quiet else logging.INFO
        logging.basicConfig(level=level, format="%(asctime)s %(message)s")

    def observer(self, stack: contextlib.ExitStack) -> Observer | None:
        """Make the observer that is wanted; `stack` ends it."""

        try:
            return observing(self.options, stack)
        except (OSError, ImportError, UnicodeError) as error:
            self.fail(f"cannot watch the transfers: {error}")

    def settings(self, observer: Observer | None) -> Settings:
        """Return the settings of the server."""

        options = self.options
        settings = Settings(
            observer=observer,
            accounts=self._accounts(),
            writable=options.writable,
            uploads=self._uploads(),
            passive_ports=options.passive_ports,
            advertise=options.advertise,
            trusted_proxies=TrustedProxies(options.trust_proxy) if options.trust_proxy else None,
            allow_fxp=options.allow_fxp,
            rate=options.rate,
            code_page=options.code_page,
            codec_options=attrs.evolve(Settings().codec_options, record_file=options.records),
            keep_data_connection=options.keep_data_connection,
            cut_with_control=options.cut_with_control,
            replies=Replies(options.reply),
            certificate=self._certificate(),
            hosts=self._hosts(),
            implicit_tls=options.implicit_tls,
            require_tls=options.require_tls,
            require_session_reuse=options.require_session_reuse,
            grace=options.grace,
            max_sessions=options.max_sessions,
        )
        of_address = options.max_sessions_per_address
        if of_address is not None:
            settings = attrs.evolve(settings, max_sessions_per_address=of_address)
        return settings

    def open_store(self) -> Store:
        """Open what is served."""

        options = self.options
        if options.store is None:
            try:
                return DiskStore(options.directory)
            except OSError as error:
                self.fail(f"cannot serve {options.directory}: {error.strerror}")

        try:
            # It needs a package of its own.
            from .objects import open_object_store  # noqa: PLC0415

            return open_object_store(options.store, renames=options.store_rename)
        except Exception as error:  # noqa: BLE001 - whatever obstore says
            # The settings may be what is wrong with the URL, and somebody may have put a
            # password there.
            url, said = options.store.partition("?")[0], str(error).partition("\n")[0]
            self.fail(f"cannot serve {url}: {said}")

    def _accounts(self) -> Accounts:
        options = self.options
        if options.accounts is None:
            return PasswordTable(options.user, anonymous=options.anonymous)
        return self._open_accounts(options.accounts)

    def _open_accounts(self, url: str) -> Accounts:
        try:
            return _open_accounts(url)
        except Exception as error:  # noqa: BLE001 - whatever their package says
            self.fail(f"cannot use the accounts: {error}")

    @contextlib.asynccontextmanager
    async def joined(self, settings: Settings) -> AsyncIterator[Settings]:
        """Let the limits hold over all nodes of the cluster, if there is one, in this context."""

        options = self.options
        if options.cluster is None:
            yield settings
            return

        from .cluster import Cluster, ValkeyCounters, joined  # noqa: PLC0415 - of an extra

        cluster = Cluster(ValkeyCounters(options.cluster), lease=options.cluster_lease)
        async with joined(settings, cluster) as of_all_nodes:
            yield of_all_nodes

    def _uploads(self) -> Uploads:
        if self.options.uploads is None:
            return Uploads.RESUMABLE if self.options.store is None else Uploads.ATOMIC
        return Uploads(self.options.uploads)

    def _hosts(self) -> Mapping[str, VirtualHost]:
        hosts = {}
        for name, said in self.options.virtual_host:
            if "cert" in said and self.options.tls_cert is None:
                self.fail("clients that name no host need a certificate, too: give --tls-cert FILE")
            hosts[name] = VirtualHost(
                accounts=self._open_accounts(said["accounts"]) if "accounts" in said else None,
                certificate=self._usable(said["cert"], said.get("key")) if "cert" in said else None,
                directory=said.get("directory", "/"),
            )
        return hosts

    def _certificate(self) -> ServerCertificate | None:
        options = self.options
        if options.tls_cert is None:
            if (
                options.tls_key
                or options.tls_max
                or options.implicit_tls
                or options.require_tls
                or options.require_session_reuse
            ):
                self.fail("TLS needs a certificate: give --tls-cert FILE")
            return None

        return self._usable(options.tls_cert, options.tls_key)

    def _usable(self, file: str, key: str | None) -> ServerCertificate:
        certificate = ServerCertificate(
            certificate=file,
            key=key,
            maximum_version=_VERSIONS.get(self.options.tls_max, ssl.TLSVersion.MAXIMUM_SUPPORTED),
        )
        try:
            certificate.session_context()
        except OSError as error:
            # An ssl.SSLError is one.
            self.fail(f"cannot use the certificate {file}: {error}")

        return certificate

    def fail(self, message: str) -> NoReturn:
        """End the program: what the command line wants cannot be done."""

        self._parser.error(message)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.server", description="Serve a directory or a bucket over FTP."
    )
    parser.add_argument("directory", metavar="DIRECTORY", nargs="?")
    parser.add_argument(
        "--store",
        metavar="URL",
        help="serve an object store in place of a directory: s3://bucket/prefix?endpoint=URL, "
        "gs://bucket, az://container, or memory://; credentials come from the environment",
    )
    parser.add_argument(
        "--store-rename",
        action="store_true",
        help="rename objects by copying them: for a moment there are both names",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port",
        type=_expecting("a port from 0 to 65535", _port),
        default=2121,
        help="0 for any",
    )
    parser.add_argument(
        "--fd",
        type=_expecting("a descriptor, which is 0 or more", _descriptor),
        metavar="NUMBER",
        help="descriptor of a socket that listens already, instead of --host and --port; "
        "systemd gives 3",
    )
    parser.add_argument("--anonymous", action="store_true", help="let anybody log in")
    parser.add_argument(
        "--user", type=_user, action="append", default=[], metavar="NAME:PASSWORD"
    )
    parser.add_argument(
        "--accounts",
        metavar="URL",
        help="instead of --user: sqlite:FILE, with the accounts that "
        "`python -m examples.accounts_sqlite` makes; or ldaps://HOST/BASE, as "
        "examples/accounts_ldap.py explains it",
    )
    parser.add_argument("--writable", action="store_true", help="let users change things")
    parser.add_argument(
        "--uploads",
        choices=[uploads.value for uploads in Uploads],
        help="what becomes of an upload that is cut: hidden, and its user can resume it "
        "(resumable, of a directory); gone (atomic, of a store); or left as far as it came, under "
        "its name (in-place)",
    )
    parser.add_argument(
        "--passive-ports",
        type=_expecting("ports such as 50000-50099, from 1 to 65535", _port_range),
        metavar="FIRST-LAST",
    )
    parser.add_argument(
        "--advertise",
        type=_expecting("an IPv4 address or a name", _ipv4_or_name),
        metavar="ADDRESS",
        help="IPv4 address that PASV tells, or a name, which is looked up again each minute",
    )
    parser.add_argument(
        "--trust-proxy",
        type=_expecting("an address or a network such as 192.0.2.0/24", ipaddress.ip_network),
        action="append",
        default=[],
        metavar="NETWORK",
        help="let in only who comes through these proxies, with a PROXY header",
    )
    parser.add_argument(
        "--allow-fxp", action="store_true", help="let data go to and come from third parties"
    )
    parser.add_argument(
        "--max-sessions",
        type=_expecting("a number from 1 on", _count),
        default=Settings().max_sessions,
        metavar="NUMBER",
        help="of this process, or of all that share them (gunicorn's workers, --cluster)",
    )
    parser.add_argument(
        "--max-sessions-per-address",
        type=_expecting("a number from 1 on", _count),
        metavar="NUMBER",
        help="those of one client address; by default, half of all",
    )
    parser.add_argument(
        "--cluster",
        metavar="URL",
        help="valkey://HOST:PORT[/DATABASE], or valkeys:// with TLS: a server of Valkey or Redis, "
        "over which all nodes count sessions and wrong passwords together",
    )
    parser.add_argument(
        "--cluster-lease",
        type=_expecting("1 to 3600 seconds", _lease),
        default=30.0,
        metavar="SECONDS",
        help="until the sessions of a node that was killed count no more",
    )
    parser.add_argument(
        "--rate",
        type=_expecting("more than 0 bytes per second", _rate),
        metavar="BYTES_PER_SECOND",
        help="limit of each session",
    )
    parser.add_argument(
        "--code-page", type=_code_page, default="cp037", help="EBCDIC code page of TYPE E"
    )
    parser.add_argument(
        "--records",
        type=_expecting("lines, rdw, bdw or fixed:LENGTH", _record_file),
        metavar="FORM",
        help="what a file is in MODE B, or in MODE S and STRU R, but for TYPE A: lines (the "
        "default: records are lines in STRU R, and there are none in STRU F), rdw or bdw (a "
        "mainframe's variable records behind descriptor words, and in blocks), or fixed:LENGTH",
    )
    parser.add_argument(
        "--keep-data-connection",
        action="store_true",
        help="let several files follow one another in block and compressed mode",
    )
    parser.add_argument(
        "--cut-with-control",
        action="store_true",
        help="cut uploads whose control connection ends, to the letter of RFC 959",
    )
    parser.add_argument(
        "--reply",
        choices=[each.value for each in Replies],
        default=Replies.DELIVERED.value,
        help="when a download is said to be complete: when the client's system has everything, or "
        "when all has left this one, a round trip earlier, whether it arrives or not",
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate, in PEM, for AUTH TLS")
    parser.add_argument("--tls-key", metavar="FILE", help="its key, if not in the same file")
    parser.add_argument(
        "--tls-max",
        choices=_VERSIONS,
        help="the newest version of TLS that is spoken: with --require-session-reuse, 1.2 "
        "serves clients such as Perl's Net::FTP, whose uploads soon run out of tickets in 1.3",
    )
    parser.add_argument(
        "--virtual-host",
        type=_expecting(_HOST_FORM, _virtual_host),
        action="append",
        default=[],
        metavar=_HOST_FORM,
        help="what HOST, or a name in the TLS handshake, may choose in place of the server's own",
    )
    parser.add_argument(
        "--implicit-tls", action="store_true", help="begin TLS with the connection"
    )
    parser.add_argument("--require-tls", action="store_true", help="let nobody in without TLS")
    parser.add_argument(
        "--require-session-reuse",
        action="store_true",
        help="let data connections resume the TLS session of the control connection, or fail",
    )
    parser.add_argument(
        "--xferlog", metavar="FILE", help="append a line for each file, as wu-ftpd did"
    )
    parser.add_argument(
        "--metrics",
        type=_expecting("[HOST:]PORT, with a port from 0 to 65535", _address),
        metavar="[HOST:]PORT",
        help="serve metrics for Prometheus there; on this machine only unless there is a host",
    )
    parser.add_argument(
        "--trace",
        action="store_true",
        help="log what goes over each connection: sizes and times, never content or passwords",
    )
    parser.add_argument("--live", action="store_true", help="show the transfers as they run")
    parser.add_argument(
        "--grace",
        type=_expecting("seconds from 0 on", _grace),
        default=GRACE,
        metavar="SECONDS",
        help="time for running transfers to end after SIGTERM; then they are cut",
    )
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--quiet", action="store_true", help="log warnings only, no transfers")
    return parser


def _open_accounts(url: str) -> Accounts:
    """Open accounts that need a package of their own. Blocks."""

    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        from ..accounts_sqlite import SQLiteAccounts  # noqa: PLC0415

        return SQLiteAccounts(rest)

    if scheme in ("ldap", "ldaps", "ldapi"):
        from ..accounts_ldap import LDAPAccounts  # noqa: PLC0415

        return LDAPAccounts.from_environment(url)

    raise ValueError(f"expected sqlite:FILE or an LDAP URL, not {scheme}:")


def _expecting(what: str, read: Callable[[str], _T]) -> Callable[[str], _T]:
    """Return a reader of an argument that names what was expected if the argument is another."""

    def read_argument(text: str) -> _T:
        try:
            return read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {what}, not {text!r}") from None

    return read_argument


def _user(text: str) -> tuple[str, str]:
    try:
        return PasswordTable.parse(text)
    except ValueError:
        # Not with the text, which may be a password.
        raise argparse.ArgumentTypeError("expected NAME:PASSWORD, with a name") from None


def _descriptor(text: str) -> int:
    fd = int(text)
    if fd < 0:
        raise ValueError(text)
    return fd


def _virtual_host(text: str) -> tuple[str, dict[str, str]]:
    name, *settings = text.split(",")
    said = dict(setting.split("=", 1) for setting in settings)
    if host_name(name) is None or said.keys() - {"cert", "key", "accounts", "directory"}:
        raise ValueError(text)
    return name, said


def _record_file(text: str) -> RecordFile | None:
    return None if text == "lines" else RecordFile.parse(text)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:  # noqa: PLR2004 - RFC 9293 §3.1: 16 bits
        raise ValueError(text)
    return port


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", _port(port)


def _port_range(text: str) -> PortRange:
    first, _, last = text.partition("-")
    return PortRange(int(first), int(last))


def _ipv4_or_name(text: str) -> str:
    # What ends with a number is no name (RFC 1123 §2.1), but an address with a mistake.
    if re.fullmatch(r"([\w-]+\.)*[\w-]*[^\W\d][\w-]*\.?", text, re.ASCII):
        return text

    return str(ipaddress.IPv4Address(text))


def _code_page(text: str) -> str:
    try:
        return ebcdic_code_page(text).name
    except FTPDataError as error:
        raise argparse.ArgumentTypeError(error.message) from error


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < float("inf"):
        raise ValueError(text)
    return rate


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return count


def _lease(text: str) -> float:
    lease = float(text)
    if not 1 <= lease <= 3600:  # noqa: PLR2004 - from a call three times a second to an hour
        raise ValueError(text)
    return lease


def _grace(text: str) -> float:
    grace = float(text)
    if not 0 <= grace < float("inf"):
        raise ValueError(text)
    return grace
