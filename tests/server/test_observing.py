"""What an operator sees of a server: metrics, the transfer log, a trace, the screen."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ftplib
import io
import logging
import random
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from examples.server.live import LiveObserver
from examples.server.observing import TraceObserver, observing
from examples.server.settings import Settings, Uploads
from ftpdata import Direction, End, HostPort, PortRange, TransferResult
from ftpdata.errors import UploadVetoed
from ftpdata.observers import Observer, Subject, Transfer, Upload
from tests.observers.recorder import Recorder
from tests.observers.test_ready import Told
from tests.server.client import Client, reset, serving
from tests.server.launched import ROOT, started


def transfer_with(port: int) -> None:
    """Upload, download, list, and ask for what is not there."""

    with ftplib.FTP() as client:
        client.connect("127.0.0.1", port, timeout=60)
        client.login("ann", "secret")
        client.storbinary("STOR a file", io.BytesIO(b"x" * 1000))
        client.retrbinary("RETR a file", lambda _: None)
        client.nlst()
        with pytest.raises(ftplib.error_perm):
            client.retrbinary("RETR nothing", lambda _: None)
        client.quit()


def test_the_command_line(served_directory: Path, tmp_path: Path) -> None:
    """Metrics are read from the page, the log from its file, the trace from stderr."""

    log = tmp_path / "xferlog"
    arguments = [str(served_directory), "--user", "ann:secret", "--writable", "--trace"]
    arguments += ["--port", "0", "--metrics", "0", "--xferlog", str(log)]
    with started(*arguments, with_errors=True) as (process, _, port):
        transfer_with(port)
        assert process.stderr
        said = [process.stderr.readline()]
        page = re.search(r"metrics on (http://127\.0\.0\.1:\d+/metrics)", said[0])
        assert page, said
        with urllib.request.urlopen(page[1], timeout=60) as answer:
            read = {
                (sample.name, *sorted(sample.labels.values())): sample.value
                for family in text_string_to_metric_families(answer.read().decode())
                for sample in family.samples
            }
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(60) == 0

    assert read["ftpdata_transfers_total", "clean", "sent"] == 2
    assert read["ftpdata_transfers_total", "clean", "received"] == 1
    assert read["ftpdata_file_bytes_total", "received"] == 1000
    assert read["ftpdata_transfers_active", "sent"] == 0
    assert read[("ftpdata_listeners_in_use",)] == 0
    lines = log.read_text().splitlines()
    assert [re.sub(r"^.{24} \d+ ", "", line) for line in lines] == [
        "127.0.0.1 1000 /a_file b _ i r ann ftp 0 * c",
        "127.0.0.1 1000 /a_file b _ o r ann ftp 0 * c",
    ]
    assert "secret" not in rest
    assert re.search(r"127\.0\.0\.1#1 > PASS, 11 bytes", rest)
    assert re.search(r"127\.0\.0\.1#1 < 226, \d+ bytes, after \d\.\d{3} s", rest)
    assert re.search(r"transfer \d+ \(STOR\): complete, 1000 bytes, 1000 of the file", rest)
    assert re.search(r"listening on 127\.0\.0\.1:\d+", rest)


@pytest.mark.parametrize(
    "wish",
    [("--xferlog", "/nowhere/xferlog"), ("--metrics", f"{'x' * 80}:9000")],
    ids=["file", "host"],
)
def test_what_cannot_be_watched_is_said_at_the_start(
    served_directory: Path, wish: tuple[str, str]
) -> None:
    """The server does not start without the log that its operator asked for."""

    arguments = [str(served_directory), "--anonymous", *wish]
    process = subprocess.run(
        [sys.executable, "-m", "examples.server", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 2
    assert "cannot watch the transfers" in process.stderr
    assert "Traceback" not in process.stderr


async def one(client: Client, dice: random.Random) -> tuple[Direction, End | None]:
    """Do one transfer, good or with a fault; return how the client saw it end."""

    kind = dice.choice(["up", "down", "list", "cut", "late", "abort"])
    data = await client.passive()
    if kind == "up":
        client.send("STOR up")
        assert (await client.codes(1))[0] in (125, 150)
        await data.send(b"x" * dice.choice([0, 10, 100_000]))
        assert await client.codes(1) == [226]
        return Direction.RECEIVED, End.CLEAN
    if kind in ("down", "list"):
        client.send("RETR large" if kind == "down" else "MLSD")
        assert (await client.codes(1))[0] in (125, 150)
        await data.read()
        assert await client.codes(1) == [226]
        return Direction.SENT, End.CLEAN
    if kind == "cut":
        client.send("STOR up")
        assert (await client.codes(1))[0] in (125, 150)
        data.writer.write(b"half")
        await data.writer.drain()
        reset(data.writer)
        assert await client.codes(1) == [426]
        return Direction.RECEIVED, End.RESET
    if kind == "abort":
        client.send("STOR up")
        assert (await client.codes(1))[0] in (125, 150)
        client.send("ABOR")
        assert await client.codes(2) == [426, 226]
        await data.close()
        return Direction.RECEIVED, End.ABORTED

    # The file is not there: no transfer.
    assert await client.code("RETR nothing") == 550
    await data.close()
    return Direction.SENT, None


async def test_metrics_agree_with_what_the_clients_saw(served_directory: Path) -> None:
    """A thousand transfers, good and with faults: to the last one."""

    (served_directory / "large").write_bytes(bytes(300_000))
    recorder, dice = Recorder(), random.Random(20261130)
    seen: Counter[tuple[Direction, End]] = Counter()

    async def some(server: object, number: int) -> None:
        async with server.logged_in() as client:  # type: ignore[attr-defined]
            for _ in range(number):
                direction, end = await one(client, dice)
                if end is not None:
                    seen[direction, end] += 1

    async with serving(served_directory, observer=recorder) as server:
        await asyncio.gather(*(some(server, 250) for _ in range(4)))
        await server.all_left()
    told = Counter((result.direction, result.end) for result in recorder.results)
    assert told == seen
    assert recorder.events.count("started") == recorder.events.count("ended") == sum(seen.values())
    assert recorder.events.count("listening") == recorder.events.count("released") == 1000


async def test_what_observers_know_of_a_transfer(served_directory: Path) -> None:
    """The command, the whole path, the user and the session; passive, pooled and active."""

    recorder = Recorder()
    ports = PortRange(40200, 40240)
    async with (
        serving(served_directory, observer=recorder, passive_ports=ports) as server,
        server.logged_in() as client,
    ):
        assert await client.code("MKD sub") == 257
        assert await client.code("CWD sub") == 250
        assert (await client.upload("STOR file", b"x"))[:3] == "226"
        assert await client.code("TYPE A") == 200
        await client.download("LIST")
    assert [transfer.subject for transfer in recorder.transfers] == [
        Subject(command="STOR", name="/sub/file", user="ann", session=session)
        if command == "STOR"
        else Subject(command="LIST", name="/sub", user="ann", session=session, is_text=True)
        for command, session in zip(
            ["STOR", "LIST"],
            [transfer.subject.session for transfer in recorder.transfers if transfer.subject],
            strict=True,
        )
    ]


def everything(directory: Path) -> list[str]:
    """Return all names in a directory, hidden ones, too."""

    return [path.name for path in directory.iterdir()]


class Refusing(Observer):
    """Wants no upload."""

    async def before_publish(self, transfer: Transfer, upload: Upload) -> None:
        """Refuse it."""

        raise UploadVetoed("refused", reply_text="It has a virus")


async def test_an_upload_that_is_vetoed_gets_the_reply_of_the_veto(
    served_directory: Path,
) -> None:
    """Nothing of it is left, and what cannot be vetoed is refused."""

    old = served_directory / "old"
    old.write_bytes(b"old content")
    async with serving(served_directory, observer=Refusing()) as server:
        async with server.logged_in() as client:
            for size in (10, 3_000_000):
                assert await client.upload("STOR file", bytes(size)) == "550 It has a virus."
                assert await client.upload("STOR old", bytes(size)) == "550 It has a virus."
            data = await client.passive()
            assert await client.code("APPE old") == 550
            assert await client.code("REST 5") == 350
            assert await client.code("STOR old") == 450
            await data.close()
        await server.all_left()
    assert everything(served_directory) == ["old"]
    assert old.read_bytes() == b"old content"


def test_a_server_whose_uploads_are_seen_cannot_veto_them() -> None:
    """That is known when it is configured."""

    with pytest.raises(ValueError, match="hidden until they are whole"):
        Settings(observer=Refusing(), uploads=Uploads.IN_PLACE)


def test_nobody_watches_unless_asked() -> None:
    """Without options there is no observer."""

    options = argparse.Namespace(xferlog=None, metrics=None, trace=False, live=False)
    with contextlib.ExitStack() as stack:
        assert observing(options, stack) is None


def test_the_page_of_metrics_is_named_as_browsers_do(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An IPv6 address is in brackets."""

    class Page:
        server_port = 9000
        shutdown = server_close = join = lambda _: None

    monkeypatch.setattr("prometheus_client.start_http_server", lambda *_: (Page(), Page()))
    options = argparse.Namespace(
        xferlog=None, metrics=("::1", 0), trace=False, live=False, passive_ports=None
    )
    with contextlib.ExitStack() as stack, caplog.at_level(logging.INFO):
        observing(options, stack)
    assert "metrics on http://[::1]:9000/metrics" in caplog.text


def test_the_trace_tells_sizes_and_times(caplog: pytest.LogCaptureFixture) -> None:
    """Each event is a line."""

    caplog.set_level(logging.DEBUG, logger="ftpdata.examples.server.trace")
    observer, transfer = TraceObserver(), Told(subject=Subject(command="RETR", session="a#1"))
    observer.listening(HostPort("127.0.0.1", 4000))
    observer.stranger(HostPort("127.0.0.1", 4000), "192.0.2.1", "not expected")
    observer.started(transfer)
    observer.progressed(transfer)
    observer.ended(
        transfer, TransferResult(direction=Direction.SENT, end=End.RESET, bytes=5), None
    )
    observer.released(HostPort("127.0.0.1", 4000))
    observer.refused(UploadVetoed("no port"))
    assert [record.getMessage() for record in caplog.records] == [
        "listening on 127.0.0.1:4000",
        "192.0.2.1 refused on 127.0.0.1:4000: not expected",
        "a#1 transfer 7 (RETR): began at offset 0",
        "a#1 transfer 7 (RETR): 0 bytes of the file after 0.000 s",
        (
            "a#1 transfer 7 (RETR): reset by peer, 5 bytes, 0 of the file, 0.000 s, way none, "
            "TLS none, peer unknown"
        ),
        "no longer listening on 127.0.0.1:4000",
        "no data connection: no port",
    ]


def test_the_screen_shows_what_runs_and_what_has_ended() -> None:
    """Names are not obeyed by the terminal; there is room for a dozen."""

    console = Console(file=io.StringIO(), width=100, height=40, force_terminal=False)
    live = LiveObserver(console)
    for number in range(1, 21):
        live.started(
            Told(
                number=number,
                subject=Subject(
                    command="RETR", name=f"/[b]{number}\x1b", user="[/]nn", session="192.0.2.1#5"
                ),
                file_bytes=512 * 1024,
                total=1024 * 1024,
                seconds=2.0,
            )
        )
    live.ended(
        Told(number=20, subject=Subject(command="STOR", name="/done")),
        TransferResult(direction=Direction.RECEIVED, end=End.CLEAN, file_bytes=2048, seconds=1.0),
        None,
    )
    live.ended(
        Told(number=19),
        TransferResult(direction=Direction.SENT, end=End.RESET, file_bytes=5),
        None,
    )
    console.print(live.render())
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "18 transfers" in shown
    assert re.search(
        r"\[/\]nn@192\.0\.2\.1 +│ RETR /\[b\]1\? +│ 512\.0 KiB │ 50 % │ 256\.0 KiB/s", shown
    )
    assert "and 6 more" in shown
    assert re.search(r"STOR /done +│ 2\.0 KiB │ 2\.0 KiB/s │ complete", shown)
    assert "reset by peer" in shown
    assert "2 ended, 1 of them not complete; 5 B sent, 2.0 KiB received" in shown
