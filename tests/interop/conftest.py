"""Servers, sites and the tables of results for the tests of real clients and servers.

``--write-table`` writes the tables into the pages beside this file. Without it, they must agree
with the results of every client that has done all its tests, and of the reference server.
``--interop-table FILE`` writes the table of clients to another file.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import attrs
import pytest
import trustme

from ftpdata.testing import Outcome
from ftpdata.testing._checks._frame import CHECKS
from tests.interop import client_table, server_table, table
from tests.interop.client_peers import PEERS, TRIED
from tests.interop.client_steps import STEPS
from tests.interop.clients import CLIENTS
from tests.interop.daemons import CHECKED, DAEMONS
from tests.interop.names import NASTY
from tests.interop.served import (
    LOOPBACK,
    Recorder,
    Site,
    has_family,
    missing,
    reference_server,
)
from tests.interop.stores import STORES, StoreServer, running_store
from tests.interop.table import Case
from tests.interop.ways import Capability, Step

PAGES = Path(__file__).parent
UPDATE = "python -m nox -s interop -- --write-table"

SPARSE_SIZE = 2**32 + 4097
"""Bytes of the file ``sparse``; the last one is ``!``."""

SLOW_RATE = 500_000
"""Bytes per second of the slow server, for files that are not to be transferred as a whole.

It leaves time to abort a transfer, and a REST that is ignored cannot fill the disk.
"""

_results = pytest.StashKey["Results"]()
_verdict = pytest.StashKey[str]()

_CASE = "case"
"""The property of a report that names the case."""


# Servers


@attrs.frozen
class ServerKind:
    """The kind of server that a test requires.

    Attributes:
        family: 4 or 6.
        is_slow: Whether it sends at `SLOW_RATE`.
        is_protected: Whether it requires TLS.
        is_implicit: Whether TLS begins with the connection.
        wants_resumption: Whether data connections must resume the control connection's session.
    """

    family: int
    is_slow: bool
    is_protected: bool
    is_implicit: bool
    wants_resumption: bool

    @classmethod
    def of(cls, case: Case) -> ServerKind:
        """Return what a case requires."""

        return cls(
            case.way.family,
            case.capability in {Capability.ABORT, Capability.LAST_BYTE},
            case.protection is not None,
            case.protection is not None and case.protection.is_implicit,
            case.resumes,
        )

    def options(self, certificate: Path) -> list[str]:
        """Return its command-line options."""

        options = ["--rate", str(SLOW_RATE)] if self.is_slow else []
        if self.is_protected:
            options += ["--tls-cert", str(certificate), "--require-tls"]
        if self.is_implicit:
            options += ["--implicit-tls"]
        if self.wants_resumption:
            options += ["--require-session-reuse"]
        return options


@attrs.frozen
class Running:
    """A running server: its port, and where it logs."""

    port: int
    log: Path


Servers = Mapping[ServerKind, Running]


def _case(item: pytest.Item) -> Case | None:
    case = getattr(getattr(item, "callspec", None), "params", {}).get("case")
    return case if isinstance(case, Case) else None


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory to serve: ``nasty``, ``sparse``, ``big``, and room for each test."""

    root = tmp_path_factory.mktemp("served")
    nasty = root / "nasty"
    nasty.mkdir()
    for name in NASTY:
        Path(os.fsdecode(os.fsencode(nasty) + b"/" + name)).write_bytes(name)
    with (root / "sparse").open("wb") as file:
        file.seek(SPARSE_SIZE - 1)
        file.write(b"!")
    with (root / "big").open("wb") as file:
        file.truncate(2**30)
    return root


@attrs.frozen
class Certificate:
    """The files of an authority's certificate, and of a certificate that it issued with its key."""

    authority: Path
    server: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Return a certificate for the loopback addresses."""

    directory = tmp_path_factory.mktemp("certificate")
    made = Certificate(directory / "authority.pem", directory / "server.pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(made.authority)
    issued = authority.issue_cert("localhost", *LOOPBACK.values())
    issued.private_key_and_cert_chain_pem.write_to_path(made.server)
    return made


@pytest.fixture(scope="session")
def servers(
    request: pytest.FixtureRequest,
    root: Path,
    certificate: Certificate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Servers]:
    """Run the servers that the tests require, from before the first test until after the last."""

    logs = tmp_path_factory.mktemp("logs")
    wanted = dict.fromkeys(
        ServerKind.of(case)
        for item in request.session.items
        if (case := _case(item)) is not None
    )
    with contextlib.ExitStack() as stack:
        servers = {}
        for number, kind in enumerate(wanted):
            if has_family(kind.family):
                log = logs / str(number)
                options = kind.options(certificate.server)
                port = stack.enter_context(reference_server(root, log, kind.family, *options))
                servers[kind] = Running(port, log)

        yield servers

    left = [path for path in root.rglob(".*") if path.parent.name != "nasty"]
    assert not left, f"partial uploads were left: {left}"


# Other servers


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a directory that every user can reach, as those of pytest cannot be."""

    made = Path(tempfile.mkdtemp(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT", "/tmp")))
    try:
        made.chmod(0o755)
        yield made
    finally:
        shutil.rmtree(made)


# Stores


@pytest.fixture(scope="session")
def store_servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], StoreServer]]:
    """Return a function that returns an object store, and starts it at its first call."""

    with contextlib.ExitStack() as stack:

        @functools.cache
        def start(name: str) -> StoreServer:
            return stack.enter_context(running_store(name, tmp_path_factory.mktemp(name)))

        yield start


@pytest.fixture(params=STORES)
def store_server(
    request: pytest.FixtureRequest, store_servers: Callable[[str], StoreServer]
) -> StoreServer:
    """Return an object store that runs, of each kind in turn."""

    server = store_servers(request.param)
    server.clear()
    return server


# Sites


@attrs.frozen
class Exchange:
    """A client and a server, about to exchange files.

    Attributes:
        case: Which client does what, and how.
        site: What the client knows of the server.
        recorder: Records what they say.
        ours: A directory of the client's.
        theirs: A directory of the server's.
        node: The test.
        log: The file to which the server logs.
    """

    case: Case
    site: Site
    recorder: Recorder
    ours: Path
    theirs: Path
    node: pytest.Item
    log: Path

    def path(self, name: str | bytes) -> bytes:
        """Return the remote path of a file in ``theirs``."""

        return os.fsencode(self.theirs.name) + b"/" + os.fsencode(name)

    def run(self, *steps: Step) -> list[list[bytes]]:
        """Let the client do the steps, and check that it opened data connections as requested."""

        before = self.log.stat().st_size
        try:
            listings = self.case.client.run(self.site, steps)
        finally:
            logged = self.log.read_text(errors="replace")[before:]
            self.node.add_report_section("call", "server", logged)
            if self.case.protection is None:
                self.node.add_report_section("call", "control", self.recorder.describe())

        if self.case.protection is not None:
            self._see_protection(logged)
            return listings

        commands = {"PASV", "EPSV", "PORT", "EPRT"}
        used = {command for command in commands if self.recorder.count(command)}
        assert used == {self.site.way.command}
        return listings

    def _see_protection(self, logged: str) -> None:
        assert self.case.protection is not None
        how = f", TLSv{self.case.protection.version}"
        if self.case.resumes:
            how += " resumed"
        transfers = re.findall(r" bytes in .*, complete(.*)", logged)
        assert transfers
        assert all(transfer.startswith(how) for transfer in transfers), logged


_numbers = itertools.count()


@pytest.fixture
def exchange(  # noqa: PLR0917 - fixtures
    request: pytest.FixtureRequest,
    case: Case,
    servers: Servers,
    certificate: Certificate,
    root: Path,
    tmp_path: Path,
) -> Iterator[Exchange]:
    """Bring a client and a server together."""

    client, way = case.client, case.way
    if client.version is None:
        missing(client.name, is_optional=client.is_optional)

    if not has_family(way.family):
        pytest.skip(f"no IPv{way.family} here")

    host = LOOPBACK[way.family]
    scratch, ours = tmp_path / "scratch", tmp_path / "ours"
    theirs = root / f"test{next(_numbers)}"
    for directory in (scratch, ours, theirs):
        directory.mkdir()
    server = servers[ServerKind.of(case)]
    with Recorder(host, server.port) as recorder:
        site = Site(
            way,
            host,
            recorder.port,
            scratch,
            protection=case.protection,
            authority=certificate.authority,
        )
        yield Exchange(case, site, recorder, ours, theirs, request.node, server.log)


# The table


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for the table, and for the tests of stores."""

    group = parser.getgroup("interop")
    group.addoption(
        "--write-table", action="store_true", help="write the tables of results into their pages"
    )
    group.addoption(
        "--interop-table", type=Path, metavar="FILE", help="write the table of results to FILE"
    )
    group.addoption(
        "--attempts",
        type=int,
        default=10,
        help="uploads into each store that are cancelled, and as many that are reset",
    )


class Results:
    """How each case has ended: what every worker reports, or the only process itself.

    Attributes:
        found: Of the clients.
        runs: Of the servers: the outcome of each check, for each run, by the server's name.
        trials: Of the example client: the mark of each step, for each run, by the server's name.
    """

    def __init__(self) -> None:
        self.found: table.Results = {}
        self.runs: dict[str, list[dict[str, Outcome]]] = {}
        self.trials: dict[str, list[dict[str, str]]] = {}
        self._cases = {str(case): case for client in CLIENTS for case in table.cases_of(client)}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record how a test of a client ended, with its set-up and tear-down."""

        properties = dict(report.user_properties)
        if report.when == "call" and (run := properties.get(CHECKED)):
            server, outcomes = cast("tuple[str, dict[str, str]]", run)
            found = {name: Outcome(outcome) for name, outcome in outcomes.items()}
            self.runs.setdefault(server, []).append(found)

        if report.when == "call" and (trial := properties.get(TRIED)):
            server, marks = cast("tuple[str, dict[str, str]]", trial)
            self.trials.setdefault(server, []).append(marks)

        name = properties.get(_CASE)
        if name is None:
            return

        case = self._cases[str(name)]
        if report.failed:
            self.found[case] = False
        elif report.passed and report.when == "call":
            self.found.setdefault(case, True)


def pytest_configure(config: pytest.Config) -> None:
    """Begin without results."""

    config.stash[_results] = results = Results()
    config.stash[_verdict] = ""
    config.pluginmanager.register(results)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let the reports of a test name its case: they go from a worker to the main process."""

    if (case := _case(item)) is not None:
        item.user_properties.append((_CASE, str(case)))


def pytest_report_header() -> list[str]:
    """Report which clients and servers there are."""

    return [
        f"{what}: " + ", ".join(f"{one.name} {one.version or 'MISSING'}" for one in all_of_them)
        for what, all_of_them in (("clients", CLIENTS), ("servers", DAEMONS))
    ]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the tables, or compare them with the pages."""

    config = session.config
    if hasattr(config, "workerinput"):
        # The main process has the results of all workers of pytest-xdist.
        return

    verdicts = []
    tables = (
        ("clients", _settle_table),
        ("servers", _settle_servers),
        ("the example client", _settle_trials),
    )
    for what, settle in tables:
        try:
            verdict = settle(config, has_failures=session.testsfailed > 0)
        except table.BadTable as error:
            verdict = f"ERROR: {error}"
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        verdicts.append(f"table of {what}: {verdict}")

    config.stash[_verdict] = "\n".join(verdicts)


def _settle_table(config: pytest.Config, *, has_failures: bool) -> str:
    """Do with the table what the options say; return the outcome."""

    results = config.stash[_results].found
    clients = [client for client in CLIENTS if not client.is_optional]
    complete = [client for client in clients if table.is_complete(client, results)]
    columns = [table.Column.of(client, client.version or "?", results) for client in complete]
    if target := config.getoption("interop_table"):
        target.write_text(table.format_table(columns), encoding="utf-8")

    others = config.stash[_results].runs or config.stash[_results].trials
    if config.getoption("write_table") and not (others and not results):
        if has_failures or len(complete) < len(clients):
            raise table.BadTable("the page wants a table of every client, without a failure")

        return _written(table.format_table(columns), table.CLIENTS_TABLE)

    if not columns:
        return "no client has done all its tests: the table was not looked at"

    if differences := table.compare(_text(table.CLIENTS_TABLE), columns):
        raise table.BadTable("\n".join([*differences, f"to write it anew: {UPDATE}"]))

    return f"it agrees, for {', '.join(column.name for column in columns)}"


def _settle_servers(config: pytest.Config, *, has_failures: bool) -> str:
    """Do with the table of servers what the options say; return the outcome.

    What other servers do may change with their versions, and with the moment: it is told. What
    the reference server does, and which checks there are, has to be as the page says.
    """

    runs = config.stash[_results].runs
    complete = [
        daemon for daemon in DAEMONS if len(runs.get(daemon.name, ())) == len(daemon.protections)
    ]
    sources = {check.name: check.source for check in CHECKS.values()}
    columns = [
        server_table.CheckedServer(
            daemon.name, daemon.version or "?", server_table.merge(runs[daemon.name])
        )
        for daemon in complete
    ]
    if config.getoption("write_table") and runs:
        if has_failures or len(complete) < len(DAEMONS):
            raise table.BadTable("the page wants a table of every server, without a failure")

        return _written(server_table.format_servers(sources, columns), server_table.MARKERS)

    if not columns:
        return "no server has had all its checks: the table was not looked at"

    text = _text(server_table.MARKERS)
    return _told(server_table.compare_servers(text, sources, columns), DAEMONS[0].name)


def _settle_trials(config: pytest.Config, *, has_failures: bool) -> str:
    """Do with the table of the example client what the options say; return the outcome.

    What the client does with other servers may change with their versions: it is told.
    """

    trials = config.stash[_results].trials
    complete = [peer for peer in PEERS if len(trials.get(peer.name, ())) == len(peer.protections)]
    columns = [
        client_table.TriedServer(
            peer.name,
            peer.version or "?",
            ", ".join(how.value for how in peer.protections),
            client_table.worst_of(trials[peer.name]),
        )
        for peer in complete
    ]
    if config.getoption("write_table") and trials:
        if has_failures or len(complete) < len(PEERS):
            raise table.BadTable("the page wants a table of every server, without a failure")

        return _written(client_table.format_trials(columns, [*STEPS]), client_table.MARKERS)

    if not columns:
        return "no server was tried: the table was not looked at"

    text = _text(client_table.MARKERS)
    return _told(client_table.compare_trials(text, columns, [*STEPS]), PEERS[0].name)


def _written(made: str, markers: table.Markers) -> str:
    """Write a table into its page; return the outcome."""

    text = table.replace_section(_text(markers), made, markers)
    (PAGES / markers.page).write_text(text, encoding="utf-8")
    return f"{markers.page} has the table now"


def _text(markers: table.Markers) -> str:
    """Return the page that has a table."""

    return (PAGES / markers.page).read_text(encoding="utf-8")


def _told(differences: list[str], name: str) -> str:
    """Return the outcome of a comparison with a page; only a server of ours must agree.

    Args:
        differences: A line for each.
        name: Of our server.
    """

    if ours := [line for line in differences if line.startswith(f"{name}, ")]:
        raise table.BadTable("\n".join([*ours, f"to write it anew: {UPDATE}"]))

    return "\n".join(["it agrees, for the reference server", *differences])


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Report what was done with the table."""

    terminalreporter.write_line(config.stash[_verdict])
