"""The reference server of a bucket: real object stores behind it, real clients before it."""

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import hashlib
import io
import random
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import obstore
import pytest

from ftpdata.testing import Outcome, ServerUnderTest, check_server
from tests.interop.conftest import Certificate
from tests.interop.served import PASSWORD, USER, clean_environment, missing, reference_server
from tests.interop.stores import ACCOUNT, BUCKET, KEY, StoreServer

pytestmark = [
    pytest.mark.interop,
    pytest.mark.leaks_allowed("obstore keeps connections to a store for its next request"),
]

CONTENT = random.Random(16).randbytes(21 * 1024 * 1024 + 7)
"""Three parts."""

NAMES = ("a b+ü", "%2F#?&=;", "日本 😀", "'\"`$(x)", "~-_.!*,@:", " lead", "[x]{y}<z>|^")
"""What URLs, XML and shells make something else of."""

TIMEOUT = 120
SHOWN = 6000
"""Characters of the log of a client that failed."""


@attrs.frozen
class Bucket:
    """A server of a bucket, and the bucket itself.

    Attributes:
        store: The store.
        port: Of the server.
        prefix: What the server puts before all names.
    """

    store: StoreServer
    port: int
    prefix: str

    def content(self, path: str) -> bytes:
        """Return what an object holds."""

        return bytes(obstore.get(self.store.store, f"{self.prefix}/{path}").bytes())

    def names(self) -> list[str]:
        """Return the names of all objects that the server could show, sorted."""

        pages = obstore.list(self.store.store, self.prefix)
        return sorted(meta["path"].removeprefix(f"{self.prefix}/") for p in pages for meta in p)


@contextlib.contextmanager
def serving(store: StoreServer, directory: Path, *options: str) -> Iterator[Bucket]:
    """Run the server as its guide says it, with the credentials in its environment."""

    prefix = f"pre/fix-{directory.name}"
    scheme, settings = ("az", "") if store.name == "azurite" else ("s3", "&region=us-east-1")
    url = f"{scheme}://{BUCKET}/{prefix}?endpoint={store.url}{settings}"
    credentials = {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in credentials.items():
            patch.setenv(name, value)
        with reference_server(f"--store={url}", directory / "log", 4, *options) as port:
            yield Bucket(store, port, prefix)


@pytest.fixture(params=["clear", "TLS"])
def bucket(
    request: pytest.FixtureRequest,
    store_server: StoreServer,
    certificate: Certificate,
    tmp_path: Path,
) -> Iterator[Bucket]:
    """Serve a bucket, in clear or with TLS only."""

    options = ["--store-rename"]
    if request.param == "TLS":
        options += ["--tls-cert", str(certificate.server), "--require-tls"]
    with serving(store_server, tmp_path, *options) as bucket:
        yield bucket


@pytest.fixture
def context(bucket: Bucket, certificate: Certificate, request: pytest.FixtureRequest) -> Any:
    """Return the TLS context of clients; None for clear."""

    if request.node.callspec.params["bucket"] == "clear":
        return None
    return ssl.create_default_context(cafile=certificate.authority)


@contextlib.contextmanager
def logged_in(bucket: Bucket, context: ssl.SSLContext | None) -> Iterator[ftplib.FTP]:
    """Log in with ftplib."""

    client: ftplib.FTP = ftplib.FTP_TLS(context=context) if context is not None else ftplib.FTP()
    client.encoding = "utf-8"
    with client:
        client.connect("127.0.0.1", bucket.port, timeout=TIMEOUT)
        client.login(USER, PASSWORD)
        if isinstance(client, ftplib.FTP_TLS):
            client.prot_p()
        yield client


def received(client: ftplib.FTP, command: str, rest: int | None = None) -> bytes:
    """Download."""

    pieces: list[bytes] = []
    client.retrbinary(command, pieces.append, rest=rest)
    return b"".join(pieces)


def test_ftplib(bucket: Bucket, context: ssl.SSLContext | None) -> None:
    """Everything that a program does with files, and with names that are odd."""

    with logged_in(bucket, context) as client:
        assert client.nlst() == []
        for path in ("cam", "cam/2026", "cam-2"):
            client.mkd(path)
            with pytest.raises(ftplib.error_perm, match="550"):
                client.mkd(path)
        client.cwd("cam/2026")
        client.storbinary("STOR big", io.BytesIO(CONTENT))
        assert client.size("big") == len(CONTENT)
        assert received(client, "RETR big") == CONTENT
        assert received(client, "RETR big", rest=len(CONTENT) - 5) == CONTENT[-5:]
        assert received(client, "RETR big", rest=len(CONTENT)) == b""
        client.storbinary("STOR empty", io.BytesIO())
        assert received(client, "RETR empty") == b""
        client.storlines("STOR text", io.BytesIO(b"one\ntwo\n"))
        assert bucket.content("cam/2026/text") == b"one\ntwo\n"
        for name in NAMES:
            client.storbinary(f"STOR {name}", io.BytesIO(name.encode()))
            assert received(client, f"RETR {name}") == name.encode()
        assert sorted(client.nlst()) == sorted([*NAMES, "big", "empty", "text"])
        facts = dict(client.mlsd())
        assert facts["big"]["size"] == str(len(CONTENT))
        assert client.sendcmd("MDTM big") == f"213 {facts['big']['modify']}"
        for command, code in (("APPE big", "554"), ("MFMT 20260101000000 big", "502")):
            with pytest.raises(ftplib.error_perm, match=code):
                client.sendcmd(command)
        client.sendcmd("TYPE I")
        client.sendcmd("REST 5")
        with pytest.raises(ftplib.error_perm, match="554"):
            client.storbinary("STOR big", io.BytesIO(b"x"))
        client.rename("big", "/cam-2/new")
        assert hashlib.sha256(bucket.content("cam-2/new")).digest() == (
            hashlib.sha256(CONTENT).digest()
        )
        client.cwd("/")
        assert sorted((name, facts["type"]) for name, facts in client.mlsd()) == [
            ("cam", "dir"), ("cam-2", "dir")
        ]
        for name in [*NAMES, "empty", "text"]:
            client.delete(f"cam/2026/{name}")
            with pytest.raises(ftplib.error_perm, match="550"):
                client.delete(f"cam/2026/{name}")
        with pytest.raises(ftplib.error_perm, match="550"):
            client.rmd("cam-2")
        client.delete("cam-2/new")
        for path in ("cam/2026", "cam", "cam-2"):
            client.rmd(path)
        assert client.nlst() == []
    assert bucket.names() == []


def run(*command: str, home: Path) -> bytes:
    """Run a client to its end."""

    program = shutil.which(command[0])
    if program is None:
        missing(command[0])
    done = subprocess.run(
        [program, *command[1:]],
        env=clean_environment(home),
        cwd=home,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def test_curl(
    bucket: Bucket, context: ssl.SSLContext | None, certificate: Certificate, tmp_path: Path
) -> None:
    """Up, also into directories that are to be made, down, from the middle, and a listing."""

    (tmp_path / "big").write_bytes(CONTENT)
    tls = [] if context is None else ["--ssl-reqd", "--cacert", str(certificate.authority)]
    curl = ("curl", "-sS", *tls, "--user", f"{USER}:{PASSWORD}")
    url = f"ftp://127.0.0.1:{bucket.port}"
    run(*curl, "--ftp-create-dirs", "-T", "big", f"{url}/new/dir/big", home=tmp_path)
    assert run(*curl, f"{url}/new/dir/big", home=tmp_path) == CONTENT
    assert run(*curl, "-C", "7", f"{url}/new/dir/big", home=tmp_path) == CONTENT[7:]
    assert run(*curl, "-r", "5-9", f"{url}/new/dir/big", home=tmp_path) == CONTENT[5:10]
    assert run(*curl, "-l", f"{url}/new/", home=tmp_path).split() == [b"dir"]
    assert b" big\n" in run(*curl, f"{url}/new/dir/", home=tmp_path)


def test_lftp(
    bucket: Bucket, context: ssl.SSLContext | None, certificate: Certificate, tmp_path: Path
) -> None:
    """A tree is mirrored up, and down again by several connections."""

    for path in ("up/a/b/1", "up/a/2", "up/a-b/3", "up/a b+%/4", "up/empty/x", "up/5"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(CONTENT[: len(path) * 50_000])
    said = tmp_path / "lftp.log"
    commands = [
        f"set ssl:ca-file {certificate.authority}",
        f"set ftp:ssl-force {'true' if context is not None else 'false'}",
        f"set ftp:ssl-allow {'true' if context is not None else 'false'}",
        "set ssl:check-hostname no",
        "set cmd:fail-exit yes",
        f"debug -T -o {said} 9",
        "set net:max-retries 2",
        f"open -u {USER},{PASSWORD} ftp://127.0.0.1:{bucket.port}",
        "mirror -R up tree",
        "mirror --parallel=3 tree down",
        "mv tree/5 tree/6",
        "rm tree/6",
        "bye",
    ]
    try:
        run("lftp", "-c", "; ".join(commands), home=tmp_path)
    except AssertionError:
        # It tells by itself that it has given up, and not why.
        print(said.read_text(errors="replace")[-SHOWN:])  # noqa: T201 - for the report
        raise
    for each in (tmp_path / "up").rglob("*"):
        if each.is_file():
            other = tmp_path / "down" / each.relative_to(tmp_path / "up")
            assert other.read_bytes() == each.read_bytes(), each
    files = sorted(path.removeprefix("tree/") for path in bucket.names() if "/." not in path)
    assert files == ["a b+%/4", "a-b/3", "a/2", "a/b/1", "empty/x"]


def test_the_checks_of_any_server(tmp_path: Path) -> None:
    """What a server of objects does otherwise than one of files, and nothing is wrong with it."""

    options = ("--store=memory://", tmp_path / "log", 4, "--store-rename")
    with reference_server(*options) as port:
        server = ServerUnderTest("127.0.0.1", port, USER, PASSWORD, writable="/", late=10.0)
        results = asyncio.run(check_server(server))
    assert [each for each in results if each.result is Outcome.FAIL] == []
    assert {each.name for each in results if each.result is Outcome.WARNING} <= {
        # Directories are made by what is put into them, and not renamed.
        *("mkd-of-what-is-there", "uploads-to-nowhere", "renames"),
        # Names are UTF-8.
        "names-of-directories",
    }


def test_a_killed_client_leaves_nothing(store_server: StoreServer, tmp_path: Path) -> None:
    """What came of an upload that was reset is not in the store, neither as parts."""

    with serving(store_server, tmp_path) as bucket:
        for size in (100, len(CONTENT) // 2, len(CONTENT)):
            with logged_in(bucket, None) as client:
                client.voidcmd("TYPE I")
                data = client.transfercmd("STOR file")
                data.sendall(CONTENT[:size])
                data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                data.close()
                with pytest.raises(ftplib.error_temp, match="426"):
                    client.voidresp()
        assert bucket.names() == []
        assert store_server.unfinished() == [] or store_server.keeps_parts
