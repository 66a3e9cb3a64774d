"""The measured servers as processes: started, pinned to a core, weighed and ended."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import attrs

from tests.benchmarks.serve import NAME, PASSWORD, SERVERS

__all__ = [
    "ROOT",
    "RunningServer",
    "ServerKind",
    "can_isolate",
    "kinds",
    "listening_ports",
    "own_network",
    "pinned",
]

ROOT = Path(__file__).resolve().parent.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
CPUCLOCK_SCHED = 2
LISTENING = "0A"
"""State of a listening socket in ``/proc/net/tcp``."""

# sched.h, linux/sockios.h, net/if.h
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFREQ_FLAGS = struct.Struct("16sh22x")
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = CORES[0], CORES[-1]

_library = ctypes.CDLL(None, use_errno=True)


@attrs.frozen
class ServerKind:
    """A server that can be measured.

    Attributes:
        name: Of the server.
        tls: ``explicit`` or ``implicit``; empty where it has none.
        user: To log in as.
        is_forking: Whether each session has a process of its own.
        missing: Why it cannot run here; empty if it can.
        is_limit: Whether it is no server, but what the machine can do.
    """

    name: str
    tls: str = "explicit"
    user: str = NAME
    is_forking: bool = False
    missing: str = ""
    is_limit: bool = False


def kinds() -> dict[str, ServerKind]:
    """Return all servers by name, also those that are missing here."""

    def missing(*programs: str) -> str:
        wanted = [program for program in programs if _program(program) is None]
        if os.geteuid() != 0:
            return "needs root"
        return f"{wanted[0]} is not installed" if wanted else ""

    pure_ftpd = missing("pure-ftpd", "pure-pw", "openssl")
    servers = [
        ServerKind("limit", is_forking=True, is_limit=True),
        ServerKind("limit-splice", is_forking=True, is_limit=True),
        ServerKind("ftpdata"),
        ServerKind("ftpdata-uvloop"),
        ServerKind("pyftpdlib"),
        ServerKind("aioftp", tls="implicit"),
        ServerKind("aioftp-ftpdata", tls="implicit"),
        ServerKind("twisted", tls=""),
        ServerKind("vsftpd", user="anonymous", is_forking=True, missing=missing("vsftpd")),
        ServerKind("pure-ftpd", is_forking=True, missing=pure_ftpd),
    ]
    return {server.name: server for server in servers}


def _program(name: str) -> str | None:
    """Find a program: by the variable of its name (``PURE_FTPD``), on PATH, or among daemons."""

    path = os.environ.get(name.upper().replace("-", "_"), name)
    return shutil.which(path) or shutil.which(path, path="/usr/sbin:/usr/local/sbin")


def pinned(core: int) -> None:
    """Keep this process, and its children, on one core."""

    os.sched_setaffinity(0, {core})


def listening_ports(pid: int) -> set[int]:
    """Return the ports that are listened on in the network of a process."""

    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENING:
                found.add(int(words[1].rpartition(":")[2], 16))

    return found


def own_network() -> None:
    """Give this process, and its children, a network where there is nothing but loopback.

    Raises:
        OSError: It may not: that needs root.
    """

    if _library.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network of its own")
    with socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, IFREQ_FLAGS.pack(b"lo", IFF_UP))


@functools.cache
def can_isolate() -> bool:
    """Whether servers can have networks of their own."""

    process = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import own_network; own_network()"],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return process.returncode == 0


class RunningServer:
    """A server that runs; a context manager.

    Args:
        kind: Which.
        root: What it serves.
        state: Directory for its configuration.
        certificate: For TLS; None for a server in clear.
        throttled: Whether transfers pass a throttle far above any rate.
        preload: Library to load before all others.
        is_isolated: Whether it has a network of its own, with no socket of
            another one in TIME_WAIT; its client joins that.
        is_pinned: Whether it is kept on the core of servers; else it may use
            all cores.
    """

    def __init__(
        self,
        kind: ServerKind,
        root: Path,
        state: Path,
        *,
        certificate: Path | None = None,
        throttled: bool = False,
        preload: Path | None = None,
        is_isolated: bool = False,
        is_pinned: bool = True,
    ) -> None:
        self.kind = kind
        self.is_isolated = is_isolated
        self.port = _free_port()
        self.state = state / f"{kind.name}-{self.port}"
        self.state.mkdir()
        self.state.chmod(0o755)
        self._log = (self.state / "log").open("w+")
        if kind.name in SERVERS:
            command = [sys.executable, "-m", "tests.benchmarks.serve"]
            command += [kind.name, str(self.port), str(root)]
            if certificate is not None:
                command.append(str(certificate))
            if throttled:
                command.append("--throttled")
        elif kind.name == "vsftpd":
            command = _vsftpd(self.port, root, self.state, certificate)
        else:
            command = _pure_ftpd(self.port, root, self.state, certificate)

        environment = dict(os.environ)
        if preload is not None:
            environment["LD_PRELOAD"] = str(preload)

        def prepare() -> None:
            if is_pinned:
                pinned(SERVER_CORE)
            if is_isolated:
                own_network()

        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509 - this process has one thread
        )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self) -> None:
        for _ in range(400):
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if self.port in listening_ports(self.process.pid):
                    return
            time.sleep(0.05)

        raise RuntimeError(f"it does not start: {self.log()[-300:]}")

    def join_network(self) -> None:
        """Let this process use the network of the server, if that has one of its own."""

        if self.is_isolated:
            with Path(f"/proc/{self.process.pid}/ns/net").open() as namespace:
                if _library.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "no way into the network of the server")

    def log(self) -> str:
        """Return what the server has said."""

        self._log.flush()
        return (self.state / "log").read_text(errors="replace")

    def stop(self) -> None:
        """End it, with all its processes."""

        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()

    def cpu_seconds(self) -> float:
        """Return the processor time of the server so far, its processes that ended included."""

        total = 0.0
        for pid in self._processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[13:15])) / TICKS
                # Its own time to the nanosecond, not to the tick (clock_getcpuclockid(3)).
                total += time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)

        return total

    def memory(self) -> int | None:
        """Return its memory in KiB, pages that are shared counted in parts; None if not known."""

        total = 0
        for pid in self._processes():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                return None
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))

        return total

    def _processes(self) -> Iterator[int]:
        waiting = [self.process.pid]
        while waiting:
            pid = waiting.pop()
            yield pid
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _vsftpd(port: int, root: Path, state: Path, certificate: Path | None) -> list[str]:
    empty = state / "empty"
    empty.mkdir()
    settings = {
        "listen": "YES",
        "listen_address": "127.0.0.1",
        "listen_port": port,
        "background": "NO",
        "anonymous_enable": "YES",
        "local_enable": "NO",
        "anon_root": root,
        "ftp_username": "daemon",
        "nopriv_user": "nobody",
        "secure_chroot_dir": empty,
        "write_enable": "YES",
        "anon_upload_enable": "YES",
        "anon_other_write_enable": "YES",
        "anon_world_readable_only": "NO",
        "anon_umask": "022",
        "allow_writeable_chroot": "YES",
        "connect_from_port_20": "NO",
        "xferlog_enable": "NO",
        "max_clients": 0,
        "max_per_ip": 0,
        "data_connection_timeout": 1200,
        "idle_session_timeout": 1200,
    }
    if certificate is not None:
        settings |= {
            "ssl_enable": "YES",
            "allow_anon_ssl": "YES",
            "force_local_data_ssl": "NO",
            "force_local_logins_ssl": "NO",
            "rsa_cert_file": certificate,
            "rsa_private_key_file": certificate,
            "require_ssl_reuse": "NO",
            "ssl_ciphers": "HIGH",
        }
    path = state / "vsftpd.conf"
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return [_program("vsftpd") or "vsftpd", str(path)]


def _pure_ftpd(port: int, root: Path, state: Path, certificate: Path | None) -> list[str]:
    nobody = pwd.getpwnam("nobody")
    passwords, database = state / "users", state / "users.db"
    # Not `pure-pw useradd`: its hash takes a second of each login.
    digest = subprocess.run(
        ["openssl", "passwd", "-1", PASSWORD], check=True, capture_output=True, text=True
    ).stdout.strip()
    user = f"{NAME}:{digest}:{nobody.pw_uid}:{nobody.pw_gid}::{root}/./"
    passwords.write_text(f"{user}{':' * 12}\n")
    subprocess.run(
        [_program("pure-pw") or "pure-pw", "mkdb", str(database), "-f", str(passwords)],
        check=True,
    )
    command = [
        *(_program("pure-ftpd") or "pure-ftpd", "-4", "-H", "-E", "-S", f"127.0.0.1,{port}"),
        *("-l", f"puredb:{database}", "-u", "1", "-c", "4096", "-C", "4096", "-I", "60"),
        *("-L", "2000000:5", "-f", "none", "-g", str(state / "pid")),
    ]
    if certificate is not None:
        command += ["-Y", "1", "-2", str(certificate)]
    return command
