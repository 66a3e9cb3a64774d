"""The command line."""

from __future__ import annotations

import ftplib
import io
import signal
import socket
from pathlib import Path

import pytest

from examples.server.__main__ import main
from tests.harness.packages import skip_without
from tests.harness.proxies import free_ports
from tests.server.launched import started


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_stock_client(host: str, loop: str, served_directory: Path) -> None:
    """Python's ftplib goes up and down, passive and active; SIGTERM ends the server cleanly."""

    if loop == "uvloop":
        pytest.importorskip("uvloop")
    arguments = ["--host", host, "--port", "0", "--user", "ann:a:b", "--writable", "--loop", loop]
    with started(str(served_directory), *arguments) as (process, address, port):
        assert address == host
        with ftplib.FTP() as client:
            client.connect(address, port, timeout=60)
            client.login("ann", "a:b")
            for passive in (True, False):
                client.set_pasv(passive)
                client.storbinary("STOR file", io.BytesIO(b"content"))
                received: list[bytes] = []
                client.retrbinary("RETR file", received.append)
                assert b"".join(received) == b"content"
                assert client.nlst() == ["file"]
                assert [name for name, facts in client.mlsd()] == ["file"]
                sock = client.transfercmd("RETR file")
                # It may be over before the abort is there.
                assert client.abort()[:3] in ("426", "226")
                assert client.getresp()[:3] == "226"
                sock.close()
            client.quit()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stdout
        assert process.stdout.read() == ""


@pytest.mark.parametrize(
    ("form", "stored"),
    [("rdw", "0006 0000 C1C2  0006 0000 123C"), ("fixed:2", "C1C2 123C"), ("lines", "C1C2 123C")],
)
def test_files_of_records(form: str, stored: str, served_directory: Path) -> None:
    """In MODE B a file has the records that the client sends (RFC 959 §3.4.2)."""

    sent = bytes.fromhex("80 0002 C1C2  80 0002 123C  40 0000")
    arguments = [str(served_directory), "--user", "ann:secret", "--writable", "--records", form]
    with started(*arguments, "--port", "0") as (_, address, port), ftplib.FTP() as client:
        client.connect(address, port, timeout=60)
        client.login("ann", "secret")
        client.sendcmd("MODE B")
        client.storbinary("STOR file", io.BytesIO(sent))
        assert (served_directory / "file").read_bytes() == bytes.fromhex(stored)
        received: list[bytes] = []
        client.retrbinary("RETR file", received.append)
        assert (b"".join(received) == sent) is (form != "lines")
        client.quit()


def test_an_object_store() -> None:
    """A bucket in place of a directory, here one in memory, which is empty at the end."""

    skip_without("obstore")
    arguments = ["--store", "memory://", "--store-rename", "--user", "ann:secret", "--writable"]
    with started(*arguments, "--port", "0") as (process, address, port):
        with ftplib.FTP() as client:
            client.connect(address, port, timeout=60)
            client.login("ann", "secret")
            client.mkd("dir")
            client.storbinary("STOR dir/file", io.BytesIO(b"content"))
            client.rename("dir/file", "dir/new")
            received: list[bytes] = []
            client.retrbinary("RETR dir/new", received.append)
            assert b"".join(received) == b"content"
            assert client.size("dir/new") == 7
            assert client.nlst("dir") == ["new"]
            assert [name for name, facts in client.mlsd("dir")] == ["new"]
            client.delete("dir/new")
            client.rmd("dir")
            assert client.nlst() == []
            client.quit()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_a_client_connected(number: int, served_directory: Path) -> None:
    """The client gets 421; the exit code is 0."""

    with (
        started(str(served_directory), "--port", "0", "--anonymous") as (process, host, port),
        socket.create_connection((host, port), timeout=60) as client,
        client.makefile("rb") as lines,
    ):
        assert lines.readline()[:3] == b"220"
        process.send_signal(number)
        assert lines.readline()[:3] == b"421"
        assert lines.readline() == b""
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["DIRECTORY"],
        ["DIRECTORY", "--user", "nopassword"],
        ["DIRECTORY", "--anonymous", "--port", "70000"],
        ["DIRECTORY", "--anonymous", "--port", "x"],
        ["DIRECTORY", "--anonymous", "--passive-ports", "9-8"],
        ["DIRECTORY", "--anonymous", "--passive-ports", "9"],
        ["DIRECTORY", "--anonymous", "--advertise", "::1"],
        ["DIRECTORY", "--anonymous", "--advertise", "192.0.2.256"],
        ["DIRECTORY", "--anonymous", "--advertise", "192.0.2"],
        ["DIRECTORY", "--anonymous", "--advertise", "two words"],
        ["DIRECTORY", "--anonymous", "--advertise", ""],
        ["DIRECTORY", "--anonymous", "--trust-proxy", "192.0.2.1/24"],
        ["DIRECTORY", "--anonymous", "--trust-proxy", "proxy"],
        ["DIRECTORY", "--anonymous", "--rate", "0"],
        ["DIRECTORY", "--anonymous", "--rate", "nan"],
        ["DIRECTORY", "--anonymous", "--loop", "trio"],
        ["DIRECTORY", "--anonymous", "--code-page", "latin-1"],
        ["DIRECTORY", "--anonymous", "--records", "cobol"],
        ["DIRECTORY", "--anonymous", "--records", "fixed:0"],
        ["DIRECTORY/missing", "--anonymous"],
        ["--anonymous"],
        ["DIRECTORY", "--anonymous", "--store", "memory://"],
        ["DIRECTORY", "--anonymous", "--store-rename"],
        ["--anonymous", "--store", "file:///tmp"],
        ["--anonymous", "--store", "memory://", "--uploads", "resumable"],
        ["--anonymous", "--store", "memory://", "--uploads", "in-place"],
    ],
)
def test_wrong_arguments(
    arguments: list[str], served_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 2, and a line says why."""

    with pytest.raises(SystemExit) as caught:
        main([argument.replace("DIRECTORY", str(served_directory)) for argument in arguments])
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert "error:" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("option", "wrong", "expected"),
    [
        ("--port", "70000", "a port from 0 to 65535"),
        ("--fd", "-1", "a descriptor, which is 0 or more"),
        ("--passive-ports", "9", "ports such as 50000-50099, from 1 to 65535"),
        ("--advertise", "192.0.2", "an IPv4 address or a name"),
        ("--trust-proxy", "proxy", "an address or a network such as 192.0.2.0/24"),
        ("--rate", "nan", "more than 0 bytes per second"),
        ("--records", "fixed", "lines, rdw, bdw or fixed:LENGTH"),
        ("--metrics", "x", "[HOST:]PORT, with a port from 0 to 65535"),
        ("--grace", "-1", "seconds from 0 on"),
    ],
)
def test_a_wrong_value_is_told_with_what_was_expected(
    option: str, wrong: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the words of a user: no name of a function is among them."""

    with pytest.raises(SystemExit):
        main(["DIRECTORY", "--anonymous", option, wrong])
    assert f"argument {option}: expected {expected}, not {wrong!r}\n" in capsys.readouterr().err


def test_a_user_without_a_name_is_told_without_the_password(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What has no colon may be one, and `:secret` has one."""

    for wrong in (":secret", "secret"):
        with pytest.raises(SystemExit):
            main(["DIRECTORY", "--user", wrong])
        said = capsys.readouterr().err
        assert "argument --user: expected NAME:PASSWORD, with a name" in said
        assert "secret" not in said


def test_port_that_is_taken(served_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 1, and a line says so."""

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main([str(served_directory), "--anonymous", "--port", port]) == 1
        assert "cannot listen" in capsys.readouterr().err
        # One free passive port is enough to begin with.
        ports = ["--port", "0", "--passive-ports", f"{port}-{port}"]
        assert main([str(served_directory), "--anonymous", *ports]) == 1
        said = capsys.readouterr()
        assert f"cannot listen: all ports from {port} to {port} are in use" in said.err
        assert said.out == ""


def test_a_socket_of_the_parent_process(served_directory: Path) -> None:
    """As systemd gives it: the server listens there, and the next one as well."""

    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        arguments = [str(served_directory), "--anonymous", "--fd", str(fd)]
        for _ in range(2):
            with started(*arguments, pass_fds=[fd]) as (process, address, port):
                assert (address, port) == listener.getsockname()
                with ftplib.FTP() as client:
                    client.connect(address, port, timeout=60)
                    client.login()
                process.terminate()
                assert process.wait(60) == 0


def test_every_address(served_directory: Path) -> None:
    """``--host ::`` is IPv4 too; few ports are shared, and PASV tells what a name stands for."""

    (served_directory / "file").write_bytes(b"content")
    ports = free_ports(2)
    arguments = [
        *("--host", "::", "--port", "0", "--anonymous", "--advertise", "localhost"),
        *("--passive-ports", f"{ports.first}-{ports.last}"),
    ]
    with started(str(served_directory), *arguments) as (_, address, port):
        assert address == "::"
        for host in ("127.0.0.1", "::1"):
            with ftplib.FTP() as client:
                client.connect(host, port, timeout=60)
                client.login()
                received: list[bytes] = []
                client.retrbinary("RETR file", received.append)
                assert b"".join(received) == b"content"
                assert "2 passive ports: 0 in use" in client.sendcmd("STAT")
                if host == "127.0.0.1":
                    assert "(127,0,0,1," in client.sendcmd("PASV")
