"""An authority for certificates: that of trustme or, where trustme cannot be had, OpenSSL's.

trustme needs ``cryptography``, of which PyPI has no build for the PyPy that is tested. There the
program ``openssl`` signs the certificates, with as much of trustme's interface as the tests use.
"""

from __future__ import annotations

import ipaddress
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

__all__ = ["CA"]

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class _Blob:
    """Bytes that can be written to a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def bytes(self) -> bytes:
        return self._data

    def write_to_path(self, path: Path) -> None:
        path.write_bytes(self._data)

    @contextmanager
    def tempfile(self) -> Iterator[str]:
        with tempfile.NamedTemporaryFile() as file:
            file.write(self._data)
            file.flush()
            yield file.name


class _Issued:
    """A certificate and its key."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        self.cert_chain_pems = [_Blob(certificate)]
        self.private_key_pem = _Blob(key)
        self.private_key_and_cert_chain_pem = _Blob(key + certificate)

    def configure_cert(self, context: ssl.SSLContext) -> None:
        with self.private_key_and_cert_chain_pem.tempfile() as file:
            context.load_cert_chain(file)


# Made on import: if a test made it, the check for leaks would find it.
_DIRECTORY = tempfile.TemporaryDirectory()


class _OpenSSLAuthority:
    """An authority whose key and certificates `openssl` makes."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(dir=_DIRECTORY.name))
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        request = ("-x509", *_CURVE, "-subj", "/O=tests CA", "-days", "30", *usage)
        self._openssl("req", *request, "-keyout", "ca.key", "-out", "ca.pem")
        self.cert_pem = _Blob(self._read("ca.pem"))

    def configure_trust(self, context: ssl.SSLContext) -> None:
        context.load_verify_locations(cadata=self.cert_pem.bytes().decode())

    def issue_cert(self, *names: str) -> _Issued:
        alternatives = ",".join(f"{'IP' if _is_address(name) else 'DNS'}:{name}" for name in names)
        Path(self._directory, "extensions").write_text(
            f"subjectAltName={alternatives}\nbasicConstraints=CA:FALSE\n"
            "keyUsage=digitalSignature\nauthorityKeyIdentifier=keyid\n"
        )
        self._openssl("req", *_CURVE, "-subj", "/O=tests", "-keyout", "key", "-out", "request")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "20")
        self._openssl(
            *("x509", "-req", "-in", "request", "-out", "certificate"),
            *(*signed, "-extfile", "extensions"),
        )
        return _Issued(self._read("certificate"), self._read("key"))

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments], cwd=self._directory, check=True, capture_output=True
        )

    def _read(self, name: str) -> bytes:
        return Path(self._directory, name).read_bytes()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False

    return True


if TYPE_CHECKING:
    from trustme import CA
else:
    try:
        from trustme import CA
    except ImportError:
        CA = _OpenSSLAuthority
