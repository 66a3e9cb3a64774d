"""The client of the benchmarks: a process of its own that is fast enough not to be measured itself.

``python -m tests.benchmarks.client JOB``, where JOB is a JSON object of a
server, a measure (a key of `MEASURES`) and its arguments, prints one JSON
object of results, and ends with its standard input. Downloads in clear are
dropped inside the kernel, uploads are sent from pages that exist already,
sessions in parallel share one epoll loop, and the client looks only at data
that the measure needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import attrs

__all__ = ["MEASURES", "Job", "main"]

TIMEOUT = 60.0
PIECE = 256 * 1024

DISCARDED = bytearray(4 * 1024 * 1024)
"""The buffer for downloads. The kernel is asked not to fill it."""

STALLED_WINDOW = 16 * 1024
"""Bytes of the receive buffer where nothing is taken: the kernel's memory for TCP is bounded."""

LONG_ENOUGH = 1.2
"""Seconds after which no further file is moved for one figure."""

PATIENCE = 10.0
"""Seconds after which a download that is compared with others is cut."""

Result = dict[str, Any]
Wait = tuple[int, int]
Steps = Generator[Wait, None, None]
"""A session among many: gives the descriptor and the event that it waits for next."""


@attrs.frozen
class Job:
    """What to do, and with which server.

    Attributes:
        port: Of the server.
        user: To log in as.
        password: Of that user.
        tls: ``explicit``, ``implicit`` or nothing.
        measure: A key of `MEASURES`.
        arguments: Of the measure.
    """

    port: int
    user: str
    password: str
    tls: str
    measure: str
    arguments: dict[str, Any]


class Control:
    """A control connection, logged in, with TYPE I and, with TLS, PROT P."""

    def __init__(self, job: Job, context: ssl.SSLContext | None) -> None:
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", job.port), TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.context = context
        # Blocking calls without a timeout cost one system call less; the parent process ends
        # this one if it hangs.
        self.sock.settimeout(None)
        self._buffer = b""
        self._extended = True
        if job.tls == "implicit":
            self._begin_tls()
        self.expect("2")
        if job.tls == "explicit":
            self.command("AUTH TLS", "234")
            self._begin_tls()

        if self.command(f"USER {job.user}", ("2", "3")).startswith("331"):
            self.command(f"PASS {job.password}", "2")
        if job.tls:
            self.command("PBSZ 0", "2")
            self.command("PROT P", "2")
        self.command("TYPE I", "2")

    def _begin_tls(self) -> None:
        assert self.context is not None
        self.sock = self.context.wrap_socket(self.sock)

    def send(self, line: str) -> None:
        """Send a command."""

        self.sock.sendall(f"{line}\r\n".encode())

    def expect(self, code: str | tuple[str, ...]) -> str:
        """Wait for a reply; its code begins so, or it is an error."""

        while (reply := self._take()) is None:
            if not self.receive():
                raise ConnectionError("the control connection was closed")

        if not reply.startswith(code):
            raise ValueError(f"unexpected reply: {reply}")
        return reply

    def receive(self) -> bool:
        """Receive something; return whether anything came."""

        data = self.sock.recv(4096)
        self._buffer += data
        return bool(data)

    def has_reply(self) -> bool:
        """Return whether a whole reply is there, so that `expect` will not wait."""

        return self._end() is not None

    def _end(self) -> int | None:
        """Where the first reply in the buffer ends, if it is whole (RFC 959 §4.2)."""

        buffer, start = self._buffer, 0
        while (end := buffer.find(b"\r\n", start) + 2) > 1:
            if buffer[start + 3 : start + 4] == b" " and buffer[start : start + 3].isdigit():
                return end
            start = end

        return None

    def _take(self) -> str | None:
        end = self._end()
        if end is None:
            return None

        reply, self._buffer = self._buffer[:end].decode("latin-1"), self._buffer[end:]
        return reply.splitlines()[-1] if "\n" in reply else reply

    def command(self, line: str, code: str | tuple[str, ...]) -> str:
        """Send a command and wait for its reply."""

        self.send(line)
        return self.expect(code)

    def ask_for_port(self) -> None:
        """Ask for a data connection: EPSV, or PASV where that is not known."""

        self.send("EPSV" if self._extended else "PASV")

    def open_data(self, *, window: int = 0) -> socket.socket:
        """Connect to the address in the next reply, with a receive buffer of that many bytes."""

        if self._extended:
            reply = self.expect("")
            if reply.startswith("229"):
                return _connect(int(reply.rsplit("|", 2)[1]), window)

            self._extended = False
            self.send("PASV")

        reply = self.expect("227")
        high, low = reply[reply.index("(") + 1 : reply.index(")")].split(",")[4:]
        return _connect(int(high) * 256 + int(low), window)

    def transfer(self, line: str) -> socket.socket:
        """Begin a transfer; return the data connection, with TLS if the session has it."""

        self.ask_for_port()
        data = self.open_data()
        self.command(line, "1")
        if self.context is None:
            return data

        assert isinstance(self.sock, ssl.SSLSocket)
        return self.context.wrap_socket(data, session=self.sock.session)

    def download(self, line: str) -> int:
        """Do one download or listing; return its bytes."""

        data = self.transfer(line)
        total = receive_all(data)
        data.close()
        self.expect("2")
        return total

    def upload(self, name: str, send: Callable[[socket.socket], object]) -> None:
        """Do one upload."""

        data = self.transfer(f"STOR {name}")
        send(data)
        if isinstance(data, ssl.SSLSocket):
            # This sends a close_notify, and does not wait for the server's.
            data.setblocking(False)
            with contextlib.suppress(OSError):
                data.unwrap()
            data.shutdown(socket.SHUT_WR)
            self.expect("2")
            data.close()
        else:
            data.close()
            self.expect("2")

    def close(self) -> None:
        """Close it, without a word."""

        self.sock.close()


def _connect(port: int, window: int = 0) -> socket.socket:
    data = socket.socket()
    if window:
        data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    data.connect(("127.0.0.1", port))
    return data


def receive_all(data: socket.socket) -> int:
    """Receive to the end, and keep nothing; return how much it was."""

    total = 0
    flags = 0 if isinstance(data, ssl.SSLSocket) else socket.MSG_TRUNC
    while count := data.recv_into(DISCARDED, 0, flags):
        total += count

    return total


class Source:
    """Bytes to upload, in pages that are there already."""

    def __init__(self) -> None:
        self.block = os.urandom(PIECE)
        self.file = os.memfd_create("upload")
        os.write(self.file, self.block)

    def send(self, data: socket.socket, size: int) -> None:
        """Send that many bytes."""

        left = size
        while left > 0:
            count = min(left, PIECE)
            if isinstance(data, ssl.SSLSocket):
                data.sendall(self.block[:count])
                left -= count
            else:
                left -= os.sendfile(data.fileno(), self.file, 0, count)


class Client:
    """Makes the sessions of one job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._sessions: list[Control] = []
        self.context: ssl.SSLContext | None = None
        if job.tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.context.check_hostname = False
            self.context.verify_mode = ssl.CERT_NONE

    def log_in(self) -> Control:
        """Connect and log in; the session stays until the process ends."""

        self._sessions.append(Control(self.job, self.context))
        return self._sessions[-1]

    def log_in_often(self, count: int) -> list[Control]:
        """Make that many sessions, one after the other."""

        return [self.log_in() for _ in range(count)]


# Throughput


def retr(client: Client, *, name: str, size: int, files: int = 4) -> Result:
    """Download a file, and again, until it took long enough."""

    control = client.log_in()
    moved, began = 0, time.perf_counter()
    while (seconds := time.perf_counter() - began) < LONG_ENOUGH and moved < files * size:
        count = control.download(f"RETR {name}")
        if count != size:
            raise ValueError(f"{count} bytes came, not {size}")
        moved += count

    return {"bytes": moved, "seconds": time.perf_counter() - began if moved else seconds}


def stor(client: Client, *, name: str, size: int) -> Result:
    """Upload a file; the final reply counts as its end."""

    control, source = client.log_in(), Source()
    began = time.perf_counter()
    control.upload(name, lambda data: source.send(data, size))
    return {"bytes": size, "seconds": time.perf_counter() - began}


# Small files


def small(
    client: Client, *, name: str, transfers: int, seconds: float, store: int = 0
) -> Result:
    """Transfer small files in one session, one after the other; uploads have that many bytes."""

    control, block = client.log_in(), os.urandom(store)
    began = time.perf_counter()
    done = 0
    while done < transfers and time.perf_counter() - began < seconds:
        if store:
            control.upload(name, lambda data: data.sendall(block))
        else:
            control.download(f"RETR {name}")
        done += 1

    return {"transfers": done, "seconds": time.perf_counter() - began}


def small_parallel(
    client: Client, *, name: str, transfers: int, seconds: float, sessions: int, store: bool = False
) -> Result:
    """Transfer small files in many sessions at once."""

    controls, source = client.log_in_often(sessions), Source()
    began = time.perf_counter()
    left = [transfers]

    def work(index: int, control: Control) -> Steps:
        while left[0] > 0 and time.perf_counter() - began < seconds:
            left[0] -= 1
            if store:
                yield from upload_steps(control, f"{name}-{index}", 1024, source)
            else:
                yield from download_steps(control, f"RETR {name}")

    run_steps(work(index, control) for index, control in enumerate(controls))
    return {"transfers": transfers - left[0], "seconds": time.perf_counter() - began}


def endurance(client: Client, *, name: str, transfers: int, sessions: int, points: int) -> Result:
    """Download small files very often; return the rate of each part of them."""

    controls = client.log_in_often(sessions)
    part = transfers // points
    rates: list[float] = []

    def work(control: Control, left: list[int]) -> Steps:
        while left[0] > 0:
            left[0] -= 1
            yield from download_steps(control, f"RETR {name}")

    for _ in range(points):
        began, left = time.perf_counter(), [part]
        run_steps([work(control, left) for control in controls])
        rates.append(part / (time.perf_counter() - began))

    return {"x": [part * (index + 1) for index in range(points)], "y": rates}


# Listings


def listing(client: Client, *, command: str, entries: int, times: int = 1) -> Result:
    """List a directory."""

    control = client.log_in()
    began = time.perf_counter()
    for _ in range(times):
        data = control.transfer(command)
        lines = 0
        while count := data.recv_into(DISCARDED):
            lines += DISCARDED.count(b"\n", 0, count)

        data.close()
        control.expect("2")
        if not entries <= lines <= entries + 3:  # a total, "." and ".." may be among them
            raise ValueError(f"{lines} lines came, not {entries}")

    return {"entries": entries * times, "seconds": time.perf_counter() - began}


def first_line(client: Client, *, command: str) -> Result:
    """Take the time from the command to the first byte of a listing."""

    control = client.log_in()
    control.ask_for_port()
    data = control.open_data()
    began = time.perf_counter()
    control.send(command)
    data.recv(1)
    waited = time.perf_counter() - began
    receive_all(data)
    return {"milliseconds": waited * 1000}


# Many at once


def many(client: Client, *, name: str, size: int, clients: int, store: bool) -> Result:
    """Let many clients transfer at once, each its own file."""

    controls = client.log_in_often(clients)
    source = Source()
    began = time.perf_counter()
    if store:
        run_steps(
            upload_steps(control, f"{name}-{index}", size, source)
            for index, control in enumerate(controls)
        )
    else:
        run_steps(download_steps(control, f"RETR {name}", size) for control in controls)

    return {"seconds": time.perf_counter() - began}


def stalled(client: Client, *, name: str, clients: int) -> Result:
    """Begin downloads and read nothing of them; hold them until a line comes."""

    held = stall(client, name, clients)
    print(json.dumps({"open": len(held)}), flush=True)
    sys.stdin.readline()
    return {"open": len(held)}


def stall(client: Client, name: str, clients: int) -> list[tuple[Control, socket.socket]]:
    """Begin that many downloads, and read nothing of them."""

    held = []
    for control in client.log_in_often(clients):
        control.ask_for_port()
        data = control.open_data(window=STALLED_WINDOW)
        control.command(f"RETR {name}", "1")
        held.append((control, data))

    return held


def beside_stalled(client: Client, *, name: str, size: int, clients: int, rounds: int) -> Result:
    """Compare a download alone with one beside many data connections on which nothing moves."""

    with child(lambda told: _hold_on_demand(client, name, clients, told)) as stalls:
        alone = _rates(client, name, size, rounds)
        stalls.next()
        beside = _rates(client, name, size, rounds)

    return {"alone": alone, "beside": beside, "ratio": _middle(beside) / _middle(alone)}


def _hold_on_demand(client: Client, name: str, clients: int, told: _Pipes) -> None:
    told.wait()
    held = stall(client, name, clients)
    told.done()
    told.wait()
    del held


def _rates(client: Client, name: str, size: int, times: int) -> list[float]:
    """Measure the rate some times, after one run that does not count: it finds nothing ready."""

    _rate(client, name, size)
    return [_rate(client, name, size) for _ in range(times)]


def _rate(client: Client, name: str, size: int) -> float:
    """MiB a second of a download; of its beginning, where it is very slow."""

    control = client.log_in()
    moved, began = 0, time.perf_counter()
    data = control.transfer(f"RETR {name}")
    data.settimeout(PATIENCE)
    with contextlib.suppress(TimeoutError):
        while moved < size and time.perf_counter() - began < PATIENCE:
            count = data.recv_into(DISCARDED, 0, socket.MSG_TRUNC)
            if not count:
                raise ValueError(f"{moved} bytes came, not {size}")
            moved += count

    data.close()
    control.close()
    return moved / (time.perf_counter() - began) / 2**20


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


# A store that blocks


def slow_store(
    client: Client,
    *,
    name: str,
    size: int,
    slow: str,
    transfers: int,
    seconds: float,
    rounds: int,
) -> Result:
    """Measure a session's NOOP, and a fast download, beside transfers on a store that blocks.

    Half of these transfers are downloads, half uploads, begun again for ever.
    """

    control = client.log_in()
    for _ in range(20):
        control.command("NOOP", "2")

    quiet = _noops(control, seconds / 2)
    alone = _rates(client, name, size, rounds)
    with child(lambda told: _load(client, slow, transfers, told)) as load:
        load.next()
        time.sleep(0.5)
        busy = _noops(control, seconds)
        beside = _rates(client, name, size, rounds)

    return {
        "noop_quiet_p99": _percentile(quiet, 99),
        "noop_p50": _percentile(busy, 50),
        "noop_p99": _percentile(busy, 99),
        "noop_max": max(busy),
        "noops": len(busy),
        "alone": alone,
        "beside": beside,
        "ratio": _middle(beside) / _middle(alone),
    }


def _noops(control: Control, seconds: float) -> list[float]:
    """Milliseconds that each NOOP takes, sent a few milliseconds apart."""

    taken = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        control.command("NOOP", "2")
        taken.append((time.perf_counter() - began) * 1000)
        time.sleep(0.004)

    return taken


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _load(client: Client, slow: str, transfers: int, told: _Pipes) -> None:
    told.wait()
    controls = client.log_in_often(transfers)
    source = Source()

    def work(index: int, control: Control) -> Steps:
        while True:
            if index % 2:
                yield from download_steps(control, f"RETR {slow}/file")
            else:
                yield from upload_steps(control, f"{slow}/up-{index}", 4 * 2**20, source)

    told.done()
    run_steps(work(index, control) for index, control in enumerate(controls))


class _Pipes:
    """How the measuring process and its child tell each other when it is their turn."""

    def __init__(self) -> None:
        self._orders, self._reports = os.pipe(), os.pipe()

    def next(self) -> None:
        os.write(self._orders[1], b"x")
        if not os.read(self._reports[0], 1):
            raise ChildProcessError("the process that works beside has failed")

    def wait(self) -> None:
        os.read(self._orders[0], 1)

    def done(self) -> None:
        os.write(self._reports[1], b"x")

    def close(self, *, other: bool) -> None:
        """Close the ends of the other process, or all."""

        for end in (self._reports[1], self._orders[0]) if other else self._orders + self._reports:
            with contextlib.suppress(OSError):
                os.close(end)


@contextlib.contextmanager
def child(work: Callable[[_Pipes], None]) -> Iterator[_Pipes]:
    """Run something in a process beside this one, and end it."""

    pipes = _Pipes()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work(pipes)
            code = 0
        except BaseException as error:  # noqa: BLE001 - the process ends here, with a word
            print(f"beside: {error!r}", file=sys.stderr)
        finally:
            os._exit(code)

    pipes.close(other=True)
    try:
        yield pipes
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        pipes.close(other=False)


# Sessions in parallel, on one epoll loop


def run_steps(sessions: Iterable[Steps]) -> None:
    """Run sessions side by side until all have ended."""

    poll = select.epoll()
    waiting: dict[int, Steps] = {}

    def advance(session: Steps) -> None:
        for descriptor, event in session:
            waiting[descriptor] = session
            try:
                poll.modify(descriptor, event | select.EPOLLONESHOT)
            except FileNotFoundError:
                poll.register(descriptor, event | select.EPOLLONESHOT)
            return

    for session in list(sessions):
        advance(session)

    while waiting:
        for descriptor, _ in poll.poll():
            advance(waiting.pop(descriptor))

    poll.close()


def reply_steps(control: Control, code: str) -> Generator[Wait, None, str]:
    """Wait for a reply."""

    while not control.has_reply():
        yield control.sock.fileno(), select.EPOLLIN
        if not control.receive():
            raise ConnectionError("the control connection was closed")

    return control.expect(code)


def transfer_steps(control: Control, line: str) -> Generator[Wait, None, socket.socket]:
    """Begin a transfer."""

    control.ask_for_port()
    yield control.sock.fileno(), select.EPOLLIN
    data = control.open_data()
    control.send(line)
    yield from reply_steps(control, "1")
    return data


def download_steps(control: Control, line: str, size: int | None = None) -> Steps:
    """Do one download."""

    data = yield from transfer_steps(control, line)
    data.setblocking(False)
    total = 0
    while True:
        yield data.fileno(), select.EPOLLIN
        count = data.recv_into(DISCARDED, 0, socket.MSG_TRUNC)
        if not count:
            break
        total += count

    data.close()
    if size is not None and total != size:
        raise ValueError(f"{total} bytes came, not {size}")
    yield from reply_steps(control, "2")


def upload_steps(control: Control, name: str, size: int, source: Source) -> Steps:
    """Do one upload."""

    data = yield from transfer_steps(control, f"STOR {name}")
    data.setblocking(False)
    left = size
    while left > 0:
        try:
            left -= os.sendfile(data.fileno(), source.file, 0, min(left, PIECE))
        except BlockingIOError:
            yield data.fileno(), select.EPOLLOUT

    data.close()
    yield from reply_steps(control, "2")


MEASURES: dict[str, Callable[..., Result]] = {
    function.__name__: function
    for function in (
        retr,
        stor,
        small,
        small_parallel,
        endurance,
        listing,
        first_line,
        many,
        stalled,
        beside_stalled,
        slow_store,
    )
}


def main() -> None:
    """Do the job that the command line holds, and print its result."""

    job = Job(**json.loads(sys.argv[1]))
    client = Client(job)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        result = MEASURES[job.measure](client, **job.arguments)
    except (OSError, ValueError) as error:
        result = {"error": f"{error}".strip()}

    used = resource.getrusage(resource.RUSAGE_SELF)
    result["client_cpu"] = used.ru_utime + used.ru_stime
    print(json.dumps(result), flush=True)
    # The sessions stay until the server was weighed: some have a process each, and the processor
    # time of one that has ended cannot be had.
    sys.stdin.readline()
    del client


if __name__ == "__main__":
    main()
