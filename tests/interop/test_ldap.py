"""Accounts in a real LDAP directory: OpenLDAP's slapd, for the reference server."""

from __future__ import annotations

import base64
import contextlib
import ftplib
import hashlib
import importlib.util
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from examples.server.accounts import Account
from tests.harness.waiting import wait_until
from tests.interop.served import missing
from tests.server.client import serving
from tests.server.launched import started

PATIENCE = 60.0

# Debian installs it where only root looks.
SLAPD = shutil.which("slapd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
MODULES = Path("/usr/lib/ldap")
SCHEMAS = Path("/etc/ldap/schema")

BASE = "dc=example,dc=org"
SEARCHER, SEARCHER_PASSWORD = f"cn=searcher,{BASE}", "who am i"

CONFIGURATION = f"""
include {SCHEMAS}/core.schema
include {SCHEMAS}/cosine.schema
include {SCHEMAS}/nis.schema
modulepath {MODULES}
moduleload back_mdb
database mdb
maxsize 10485760
suffix {BASE}
directory DATA
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{SEARCHER}" read by * none
"""


def entry(name: str, password: str, kind: str, **attributes: str) -> str:
    """Return an entry in LDIF, its password as slapd keeps it."""

    salt = os.urandom(8)
    digest = hashlib.sha1(password.encode() + salt).digest()
    lines = [
        f"dn: {name}",
        *(f"objectClass: {each}" for each in kind.split()),
        "userPassword: {SSHA}" + base64.b64encode(digest + salt).decode(),
        *(f"{key}: {value}" for key, value in attributes.items()),
    ]
    return "\n".join(lines) + "\n\n"


def user(name: str, password: str, home: str, unit: str = "people") -> str:
    """Return the entry of a user."""

    return entry(
        f"uid={name},ou={unit},{BASE}", password, "account posixAccount",
        uid=name, cn=name, uidNumber="1", gidNumber="1", homeDirectory=home,
    )


CONTENT = "".join([
    f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: example\ndc: example\n\n",
    *(
        f"dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n\n"
        for unit in ("people", "others")
    ),
    entry(SEARCHER, SEARCHER_PASSWORD, "organizationalRole simpleSecurityObject", cn="searcher"),
    user("ann", "secret", "/ann"),
    user("eve", "x", "/eve"),
    user("both", "one", "/ann"),
    user("both", "one", "/bob", "others"),
])


@attrs.frozen
class Directory:
    """A directory that runs."""

    url: str
    process: subprocess.Popen[bytes]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Directory]:
    """Run slapd with some users; skip or fail the test if there is none."""

    if SLAPD is None or not SCHEMAS.is_dir():
        missing("slapd")
    if importlib.util.find_spec("ldap") is None:
        missing("python-ldap")

    data, content = tmp_path / "ldap", tmp_path / "content.ldif"
    data.mkdir()
    content.write_text(CONTENT)
    configuration = tmp_path / "slapd.conf"
    configuration.write_text(CONFIGURATION.replace("DATA", str(data)))
    subprocess.run(
        [SLAPD, "-T", "add", "-f", configuration, "-l", content],
        check=True, capture_output=True, timeout=PATIENCE,
    )
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    url = f"ldap://127.0.0.1:{port}"
    with (tmp_path / "slapd.log").open("wb") as log:
        process = subprocess.Popen(
            [SLAPD, "-f", configuration, "-h", url, "-d", "0"], stdout=log, stderr=log
        )
    monkeypatch.setenv("LDAP_BIND_DN", SEARCHER)
    monkeypatch.setenv("LDAP_BIND_PASSWORD", SEARCHER_PASSWORD)
    try:
        until_it_listens(port, process)
        yield Directory(f"{url}/{BASE}?uid?sub?(objectClass=posixAccount)", process)
    finally:
        process.kill()
        process.wait(PATIENCE)


def until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait for a directory to start."""

    def listens() -> bool:
        assert process.poll() is None, "slapd has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    wait_until(listens, "slapd at its port")


@pytest.mark.parametrize(
    ("name", "password", "home"),
    [
        ("ann", "secret", "/ann"),
        ("eve", "x", "/eve"),
        ("ann", "Secret", None),
        # RFC 4513 §5.1.2: the directory would say yes.
        ("ann", "", None),
        ("ann", "secret\0", None),
        ("nobody", "secret", None),
        # Who is in it twice is nobody.
        ("both", "one", None),
        # What means something in a filter.
        ("*", "secret", None),
        ("a*", "secret", None),
        ("ann)(uid=*", "secret", None),
        ("", "secret", None),
        ("ann\udcff", "secret", None),
        ("ann\0", "secret", None),
        # Another entry, which is no user.
        ("searcher", SEARCHER_PASSWORD, None),
    ],
)
async def test_who_can_bind_is_a_user(
    directory: Directory, name: str, password: str, home: str | None
) -> None:
    """And nobody else."""

    from examples.accounts_ldap import LDAPAccounts

    accounts = LDAPAccounts.from_environment(directory.url)
    account = None if home is None else Account(name, home=home)
    assert await accounts.check(name, password, peer="192.0.2.1") == account


@pytest.mark.parametrize(
    ("url", "name", "is_known"),
    [
        ("/ou=people,{base}?cn?one", "both", True),
        ("/ou=people,{base}", "ann", True),
        ("/ou=others,{base}?uid", "ann", False),
        ("/uid=ann,ou=people,{base}?uid?base", "ann", True),
        ("/{base}?uid?one", "ann", False),
        ("/{base}?uid?sub?(uidNumber=2)", "ann", False),
    ],
)
async def test_url_says_where_to_look(
    directory: Directory, url: str, name: str, is_known: bool
) -> None:
    """RFC 4516."""

    from examples.accounts_ldap import LDAPAccounts

    server = directory.url.partition("/dc=")[0]
    accounts = LDAPAccounts.from_environment(server + url.format(base=BASE))
    password = {"ann": "secret", "both": "one"}[name]
    assert (await accounts.check(name, password, peer="") is not None) == is_known


async def test_unknown_names_cost_the_same(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search and a bind, whether there is such a name or not; and never a bind for nobody."""

    import ldap

    from examples.accounts_ldap import LDAPAccounts

    binds: list[tuple[str, bool]] = []
    bind = ldap.ldapobject.SimpleLDAPObject.simple_bind_s

    def counted(self: object, who: str, cred: bytes) -> object:
        binds.append((who.partition("=")[0], bool(cred)))
        return bind(self, who, cred)

    monkeypatch.setattr(ldap.ldapobject.SimpleLDAPObject, "simple_bind_s", counted)
    accounts = LDAPAccounts.from_environment(directory.url)
    for name in ("ann", "nobody", "both"):
        assert await accounts.check(name, "wrong", peer="") is None
    assert binds == [("cn", True), ("uid", True), ("cn", True), ("cn", True)] + [("cn", True)] * 2


async def test_directory_that_is_away_or_hangs_is_no_wrong_password(
    directory: Directory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """421; the other sessions do not wait for it."""

    from examples import accounts_ldap

    accounts = accounts_ldap.LDAPAccounts.from_environment(directory.url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = accounts_ldap.LDAPAccounts(f"ldap://127.0.0.1:{silent.getsockname()[1]}/{BASE}")
        async with (
            serving(tmp_path, accounts=hanging, check_timeout=0.2) as server,
            server.connected() as client,
            server.connected() as other,
        ):
            client.send(b"USER ann\r\nPASS secret\r\n")
            assert await client.codes(1) == [331]
            await other.quiet()
            assert await client.codes(1) == [421]
    async with serving(tmp_path, accounts=accounts, check_timeout=PATIENCE) as server:
        directory.process.kill()
        directory.process.wait(PATIENCE)
        async with server.connected() as client:
            assert await client.code("USER ann") == 331
            assert await client.code("PASS secret") == 421
    assert "Can't contact LDAP server" in caplog.text


@pytest.mark.parametrize(
    "url", ["ldap://host", "ldap://host/", "http://host/x", "ldap://host/x?uid?all"]
)
def test_wrong_url_is_refused(url: str) -> None:
    """Before anybody is asked."""

    if importlib.util.find_spec("ldap") is None:
        missing("python-ldap")
    from examples.accounts_ldap import LDAPAccounts

    with pytest.raises(ValueError, match="expected"):
        LDAPAccounts(url)


def test_server_asks_the_directory(directory: Directory, tmp_path: Path) -> None:
    """As its command line says; the home is that of the entry."""

    served = tmp_path / "served"
    (served / "ann").mkdir(parents=True)
    (served / "ann" / "file").touch()
    with started(
        str(served), "--port", "0", "--accounts", directory.url
    ) as (_, host, port), ftplib.FTP() as ftp:
        ftp.connect(host, port, timeout=PATIENCE)
        with pytest.raises(ftplib.error_perm, match="530"):
            ftp.login("ann", "wrong")
        ftp.login("ann", "secret")
        assert ftp.nlst() == ["file"]
