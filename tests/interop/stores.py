"""Object stores for the tests: SeaweedFS, moto and Azurite, each in a process of its own."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import hmac
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs
import obstore
from obstore.store import AzureStore, ObjectStore, S3Store

from tests.interop.served import missing

__all__ = [
    "BUCKET",
    "STORES",
    "StoreServer",
    "fetch",
    "found",
    "running_seaweedfs",
    "running_store",
    "s3_store",
]

PATIENCE = 60.0
"""Seconds for a store to start."""

BUCKET = "bucket"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key that everybody knows: Azurite's documentation has it."""

ENVIRONMENT = {**os.environ, "S3_UPLOAD_PART_MIN_SIZE": "1024"}
"""For moto, which takes no parts of less than 5 MiB otherwise, as S3 does."""

FEW = {"max_retries": 3}
"""A connection that was kept may be closed by the store at the moment of its next use."""
CLEAR = {"allow_http": True}


@attrs.frozen
class StoreServer:
    """A store that runs, with an empty bucket.

    Attributes:
        name: What it is.
        url: Where it listens.
        store: The bucket.
        unfinished: Returns the names of objects of which there are parts that are in no object.
        address: The bucket as a URL.
        environment: What lets obstore find that URL.
    """

    name: str
    url: str
    store: ObjectStore
    unfinished: Callable[[], list[str]]
    address: str
    environment: dict[str, str]

    @property
    def keeps_parts(self) -> bool:
        """Whether it has no way to remove parts: Azure does it after a week, or with the object."""

        return self.name == "azurite"

    def clear(self) -> None:
        """Remove what earlier tests have left in a store that keeps parts."""

        if self.keeps_parts:
            for name in self.unfinished():
                obstore.put(self.store, name, b"")
                obstore.delete(self.store, name)


@contextlib.contextmanager
def running_store(name: str, directory: Path) -> Iterator[StoreServer]:
    """Run one of `STORES` within the context, with its files in a directory that is there.

    Where it is not installed, the test is skipped, or fails (see `missing`).
    """

    with STORES[name](directory) as server:
        yield server


@contextlib.contextmanager
def running_seaweedfs(directory: Path, host: str = "127.0.0.1") -> Iterator[StoreServer]:
    """Run SeaweedFS, at an address of the network that this thread is in; see `running_store`."""

    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        missing("weed")
    s3, *others = _free_ports(10)
    options = (
        *("s3.port.grpc", "s3.port.iceberg", "s3.port.lance", "filer.port", "filer.port.grpc"),
        *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
    )
    command = [
        *(str(weed), "server", f"-ip={host}", f"-ip.bind={host}", f"-dir={directory}"),
        *("-s3", "-volume.max=150", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"),
        *(f"-{option}={port}" for option, port in zip(options, others, strict=True)),
    ]
    url = f"http://{host}:{s3}"
    with _running_s3("seaweedfs", [*command, f"-s3.port={s3}"], url, directory) as server:
        yield server


@contextlib.contextmanager
def _moto(directory: Path) -> Iterator[StoreServer]:
    if importlib.util.find_spec("moto") is None:
        missing("moto")
    (port,) = _free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    with _running_s3("moto", command, url, directory, wants_signatures=True) as server:
        yield server


def s3_store(url: str) -> S3Store:
    """Return the bucket of an S3 that listens there."""

    return S3Store(
        BUCKET,
        endpoint=url,
        region="us-east-1",
        access_key_id="any",
        secret_access_key="any",
        client_options=CLEAR,  # type: ignore[arg-type]
        retry_config=FEW,  # type: ignore[arg-type]
    )


@contextlib.contextmanager
def _running_s3(
    name: str, command: list[str], url: str, directory: Path, *, wants_signatures: bool = False
) -> Iterator[StoreServer]:
    store = s3_store(url)

    def make_bucket() -> None:
        _ask("PUT", f"{url}/{BUCKET}")
        if wants_signatures:
            obstore.put(store, "ready", b"")
            obstore.delete(store, "ready")
        else:
            # Not by obstore, whose threads would stay in the network that this one is in.
            _ask("PUT", f"{url}/{BUCKET}/ready", data=b"content")
            _ask("DELETE", f"{url}/{BUCKET}/ready")

    def unfinished() -> list[str]:
        return found(_ask("GET", f"{url}/{BUCKET}?uploads"), "Key")

    with _running(command, directory, make_bucket):
        environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        }
        yield StoreServer(name, url, store, unfinished, f"s3://{BUCKET}", environment)


@contextlib.contextmanager
def _azurite(directory: Path) -> Iterator[StoreServer]:
    program = _node_module("azurite/dist/src/blob/main.js")
    if shutil.which("node") is None or program is None:
        missing("azurite")
    (port,) = _free_ports(1)
    command = [
        *("node", str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port)),
        *("--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"),
    ]
    url = f"http://127.0.0.1:{port}/{ACCOUNT}"
    store = AzureStore(
        BUCKET,
        account_name=ACCOUNT,
        account_key=KEY,
        endpoint=url,
        client_options=CLEAR,  # type: ignore[arg-type]
        retry_config=FEW,  # type: ignore[arg-type]
    )

    def unfinished() -> list[str]:
        """Name the blobs that have blocks which belong to no version of them."""

        every = {"restype": "container", "comp": "list", "include": "uncommittedblobs"}
        blocks = {"comp": "blocklist", "blocklisttype": "uncommitted"}
        return [
            name
            for name in found(_ask_azure("GET", url, "", every), "Name")
            if found(_ask_azure("GET", url, f"/{urllib.parse.quote(name)}", blocks), "Block")
        ]

    def make_container() -> None:
        _ask_azure("PUT", url, "", {"restype": "container"})

    with _running(command, directory, make_container):
        environment = {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_ENDPOINT": url,
            "AZURE_ALLOW_HTTP": "true",
        }
        yield StoreServer("azurite", url, store, unfinished, f"az://{BUCKET}", environment)


STORES: dict[str, Callable[[Path], contextlib.AbstractContextManager[StoreServer]]] = {
    "seaweedfs": running_seaweedfs,
    "moto": _moto,
    "azurite": _azurite,
}


@contextlib.contextmanager
def _running(command: list[str], directory: Path, prepare: Callable[[], None]) -> Iterator[None]:
    """Run a program until the end of the context; begin it once it can be prepared."""

    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=ENVIRONMENT,
        )
        try:
            until = time.monotonic() + PATIENCE
            while True:
                assert process.poll() is None, (directory / "log").read_text()
                try:
                    prepare()
                    break
                except Exception:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.2)
            yield
        finally:
            process.kill()
            process.wait()


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def _node_module(path: str) -> Path | None:
    places = filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep))
    found = (Path(place, path) for place in places)
    return next((file for file in found if file.exists()), None)


def fetch(url: str) -> bytes:
    """Return what a store of the kind of S3 answers, without obstore."""

    return _ask("GET", url)


def _ask(
    method: str, url: str, headers: dict[str, str] | None = None, data: bytes | None = None
) -> bytes:
    request = urllib.request.Request(url, data, headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        content: bytes = answer.read()
        return content


def _ask_azure(method: str, url: str, path: str, query: dict[str, str]) -> bytes:
    """Ask what obstore has no call for, with the signature of a shared key."""

    headers = {
        "x-ms-date": email.utils.formatdate(usegmt=True),
        "x-ms-version": "2021-12-02",
    }
    signed = [method, *[""] * 11, *(f"{name}:{value}" for name, value in sorted(headers.items()))]
    # The account twice: as the account, and as the first part of the path.
    signed += [f"/{ACCOUNT}/{ACCOUNT}/{BUCKET}{path}"]
    signed += [f"{name}:{value}" for name, value in sorted(query.items())]
    digest = hmac.digest(base64.b64decode(KEY), "\n".join(signed).encode(), hashlib.sha256)
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    return _ask(method, f"{url}/{BUCKET}{path}?{urllib.parse.urlencode(query)}", headers)


def found(answer: bytes, tag: str) -> list[str]:
    """Return the texts of all elements of that name, whatever its namespace."""

    tree = ET.fromstring(answer.removeprefix(b"\xef\xbb\xbf"))
    return [each.text or "" for each in tree.iter() if each.tag.rpartition("}")[2] == tag]
