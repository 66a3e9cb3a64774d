"""The program, against the reference server."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from examples.client.command_line import main, printable
from tests.harness.tls import authority_file, certificate_files
from tests.server.launched import started

CONTENT = os.urandom(300_001)


@attrs.frozen
class Site:
    """A server that runs, the directory that it serves, and an empty one."""

    address: str
    served: Path
    here: Path

    def url(self, path: str, scheme: str = "ftp", user: str = "u:p@") -> str:
        """Return the URL of a path."""

        return f"{scheme}://{user}{self.address}/{path}"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Run the reference server, in clear and TLS; nobody's netrc is read."""

    served, here = tmp_path / "served", tmp_path / "here"
    (served / "below").mkdir(parents=True)
    here.mkdir()
    (served / "file").write_bytes(CONTENT)
    certificate, key = certificate_files()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    options = ["--tls-cert", str(certificate), "--tls-key", str(key), "--require-session-reuse"]
    arguments = [str(served), "--writable", "--port", "0", "--user", "u:p", "--anonymous"]
    with started(*arguments, *options) as (_, host, port):
        yield Site(f"{host}:{port}", served, here)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--tls",),
        ("--tls", "--tls-max", "1.2"),
        ("--tls", "--active"),
        ("--compress",),
        ("--quiet",),
    ],
)
def test_file_goes_up_and_comes_down(
    site: Site, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """In each way; the result is told."""

    common = ["--ca", str(authority_file()), *options]
    assert main([*common, "get", site.url("file")]) == 0
    assert (site.here / "file").read_bytes() == CONTENT
    assert main([*common, "put", "file", site.url("below/")]) == 0
    assert (site.served / "below" / "file").read_bytes() == CONTENT
    assert main([*common, "get", site.url("below/file"), "copy"]) == 0
    assert (site.here / "copy").read_bytes() == CONTENT
    (site.here / "into").mkdir()
    assert main([*common, "get", site.url("file"), "into"]) == 0
    assert (site.here / "into" / "file").read_bytes() == CONTENT
    output, errors = capsys.readouterr()
    assert re.match(rf"file: {len(CONTENT)} bytes in [0-9.]+ s, [0-9.]+ MB/s\n", output)
    assert ("100" in errors or "300" in errors) == ("--quiet" not in options)


def test_directory_is_shown(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that a name has in it reaches the terminal."""

    (site.served / "red\x1b[31m").write_bytes(b"12345")
    os.utime(site.served / "red\x1b[31m", (86400, 86400))
    assert main(["ls", site.url("", user="")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == ["below", "file", "red\\033[31m"]
    assert lines[2].split()[:4] == ["-", "5", "1970-01-02", "00:00:00"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["get", "ftp://u:p@{}/nothing"], "550 "),
        (["get", "ftp://u:wrong@{}/file"], "530 "),
        (["put", "nothing", "ftp://u:p@{}/up"], "No such file"),
        (["ls", "ftp://u:p@{}/nothing"], "550 "),
        (["get", "ftp://u:p@{}/"], "names no file"),
        (["get", "ftpes://u:p@{}/file"], "certificate verify failed"),
        (["get", "ftp://u:p@127.0.0.1:1/file"], "cannot reach 127.0.0.1 port 1"),
    ],
)
def test_failure_is_told(
    site: Site, arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with the exit status; nothing stays."""

    assert main(["--quiet", *(argument.format(site.address) for argument in arguments)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert error in line
    assert "wrong" not in line.removeprefix("python -m examples.client: 530 Wrong").lower()
    assert list(site.here.iterdir()) == []


def test_any_certificate_is_taken_if_that_is_wanted(site: Site) -> None:
    """--insecure is for servers with certificates of their own."""

    assert main(["--insecure", "get", site.url("file", "ftpes")]) == 0


def test_wrong_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the exit status 2; no password is shown."""

    for arguments in ([], ["get"], ["get", "http://u:secret@h/x"], ["ls", "/tmp"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--ca", "nowhere", "ls", "ftp://h/"], "No such file or directory: 'nowhere'"),
        (["--patience", "0", "ls", "ftp://h/"], "expected more than 0 seconds, not '0'"),
        (["--patience", "nan", "ls", "ftp://h/"], "expected more than 0 seconds, not 'nan'"),
        (["--patience", "x", "ls", "ftp://h/"], "expected more than 0 seconds, not 'x'"),
        (["get", "ftp://h/x", "--segments", "65"], "expected 1 to 64, not '65'"),
        (["mirror", "ftp://h/", "d", "--connections", "x"], "expected 1 to 64, not 'x'"),
    ],
)
def test_wrong_option_is_told_with_what_was_expected(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is connected."""

    with pytest.raises(SystemExit):
        main(arguments)
    assert capsys.readouterr().err.endswith(f"{expected}\n")


def test_what_is_shown_is_printable() -> None:
    """What a server says is not sent to the terminal as it is."""

    assert printable("a\x1b[31m\nb\udce9é") == "a\\x1b[31m\\nb\\udce9é"


def test_file_comes_in_segments(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Over several connections."""

    content = CONTENT * 12
    (site.served / "large").write_bytes(content)
    assert main(["--quiet", "get", "--segments", "3", site.url("large")]) == 0
    assert (site.here / "large").read_bytes() == content
    assert capsys.readouterr().out.startswith(f"large: {len(content)} bytes in ")


def test_directory_is_mirrored_both_ways(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """What is there is left alone; a failure sets the status, and is told in a line."""

    common = ["--ca", str(authority_file()), "--tls", "--quiet"]
    assert main([*common, "mirror", "--pipeline", site.url(""), "copy"]) == 0
    assert (site.here / "copy" / "file").read_bytes() == CONTENT
    (site.here / "copy" / "more").write_bytes(b"more")
    assert main([*common, "mirror", "copy", site.url(""), "--connections", "2"]) == 0
    assert (site.served / "more").read_bytes() == b"more"
    assert capsys.readouterr().out.splitlines() == [
        "1 files transferred, 0 were there already",
        "1 files transferred, 1 were there already",
    ]
    (site.here / "copy" / "link").symlink_to("more")
    assert main([*common, "mirror", "copy", site.url("")]) == 1
    assert capsys.readouterr().err == "'link': it is neither a file nor a directory\n"
    assert main(["mirror", "copy", "copy"]) == 1


@pytest.mark.parametrize("there", [0, 1000, len(CONTENT)])
def test_upload_goes_on(site: Site, there: int, capsys: pytest.CaptureFixture[str]) -> None:
    """With what is there; the digests agree afterwards."""

    (site.here / "file").write_bytes(CONTENT)
    (site.served / "up").write_bytes(CONTENT[:there])
    assert main(["--quiet", "--verify", "put", "-c", "file", site.url("up")]) == 0
    assert (site.served / "up").read_bytes() == CONTENT
    assert int(capsys.readouterr().out.split()[1]) <= len(CONTENT) - max(0, there - 1)


def test_digest_that_differs_is_told(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a download, too; a file of which the server shows another one does not pass."""

    assert main(["--quiet", "--verify", "get", site.url("file")]) == 0
    (site.here / "file").write_bytes(b"")
    (site.served / "up").write_bytes(CONTENT)
    (site.here / "other").write_bytes(CONTENT[::-1])
    assert main(["--quiet", "--verify", "put", "-c", "other", site.url("up")]) == 1
    assert "another digest" in capsys.readouterr().err
