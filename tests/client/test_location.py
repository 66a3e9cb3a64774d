"""URLs and the entries of netrc say who logs in where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.client.client import Security
from examples.client.location import Location, is_url, with_netrc

ANONYMOUS = ("anonymous", "guest@")


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "path"),
    [
        ("ftp://h", "h", 21, ANONYMOUS, ""),
        ("ftp://h/", "h", 21, ANONYMOUS, ""),
        ("ftp://h:2121/a/b", "h", 2121, ANONYMOUS, "a/b"),
        ("FTP://h/%2Fetc/passwd", "h", 21, ANONYMOUS, "/etc/passwd"),
        ("ftps://h/x", "h", 990, ANONYMOUS, "x"),
        ("ftps://h:21/x", "h", 21, ANONYMOUS, "x"),
        ("ftpes://h/x", "h", 21, ANONYMOUS, "x"),
        ("ftp://u@h/x", "h", 21, ("u", ""), "x"),
        ("ftp://u%40x:p%3A%2F@h/x", "h", 21, ("u@x", "p:/"), "x"),
        ("ftp://[::1]:2121/x", "::1", 2121, ANONYMOUS, "x"),
        ("ftp://h/a%20b%3Fc%23", "h", 21, ANONYMOUS, "a b?c#"),
        ("ftp://h/caf%E9", "h", 21, ANONYMOUS, "caf\udce9"),
        ("ftp://h/x;type=i", "h", 21, ANONYMOUS, "x"),
        ("ftp://h/x;y", "h", 21, ANONYMOUS, "x;y"),
    ],
)
def test_url_is_read(url: str, host: str, port: int, user: tuple[str, str], path: str) -> None:
    """All but the host may be missing, and anything may be quoted."""

    location = Location.parse(url)
    server = location.server
    assert (server.host, server.port, location.path) == (host, port, path)
    assert (server.user, server.password) == user
    assert location.names_user == (user != ANONYMOUS)


@pytest.mark.parametrize(
    ("scheme", "security"),
    [("ftp", Security.CLEAR), ("ftpes", Security.EXPLICIT), ("ftps", Security.IMPLICIT)],
)
def test_scheme_says_how_connections_are_protected(scheme: str, security: Security) -> None:
    """There are three."""

    assert Location.parse(f"{scheme}://h").server.security is security


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "h",
            "h/x",
            "http://h/x",
            "ftp:h",
            "ftp://",
            "ftp:///x",
            "ftp://h:x/",
            "ftp://h:99999",
        ),
        *("ftp://h:0/x", "ftp://[::1/x", "ftp://h/x;type=a", "ftp://h/a?b", "ftp://h/a#b"),
        *("ftp://h/a%0Db", "ftp://h/a%0A", "ftp://h/a%00", "ftp://u%0A:p@h/", "ftp://u:p%0D@h/"),
    ],
)
def test_bad_url_is_refused(url: str) -> None:
    """So is one whose parts would be several commands."""

    with pytest.raises(ValueError, match=r"URL|type|line end"):
        Location.parse(url)


@pytest.mark.parametrize("url", ["http://u:secret@h/", "ftp://u:secret@h:x/", "x://:secret@"])
def test_no_message_has_the_password(url: str) -> None:
    """A URL that is refused may have one."""

    with pytest.raises(ValueError) as caught:
        Location.parse(url)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(Location.parse("ftp://u:secret@h/"))


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else is raised."""

    for url in (text, f"ftp://{text}", f"ftp://h/{text}"):
        try:
            location = Location.parse(url)
        except ValueError:
            continue
        assert location.server.host
        assert not {"\r", "\n", "\0"} & set(location.path + location.server.user)


def test_only_urls_of_ftp_are_urls() -> None:
    """Other arguments are paths of this machine."""

    assert is_url("ftp://h/x")
    assert is_url("FTPS://h/x")
    assert not is_url("http://h/x")
    assert not is_url("ftp:/x")
    assert not is_url("/home/ftp")


@pytest.fixture
def netrc(tmp_path: Path) -> Path:
    """Return a file with an entry for the host h."""

    path = tmp_path / "netrc"
    path.write_text("machine h login ann account acc password 'secret'\nmachine i login bob\n")
    path.chmod(0o600)
    return path


def test_netrc_tells_user_password_and_account(netrc: Path) -> None:
    """By the name of the host."""

    server = with_netrc(Location.parse("ftp://h/x"), netrc)
    assert (server.user, server.password, server.account) == ("ann", "'secret'", "acc")
    assert (with_netrc(Location.parse("ftp://i/x"), netrc).user) == "bob"


def test_url_is_obeyed_before_netrc(netrc: Path) -> None:
    """Other hosts have no entry."""

    assert with_netrc(Location.parse("ftp://eve:p@h/x"), netrc).user == "eve"
    assert with_netrc(Location.parse("ftp://other/x"), netrc).user == "anonymous"


def test_netrc_need_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it was asked for by name."""

    monkeypatch.setenv("HOME", str(tmp_path))
    assert with_netrc(Location.parse("ftp://h/x")).user == "anonymous"
    with pytest.raises(FileNotFoundError):
        with_netrc(Location.parse("ftp://h/x"), tmp_path / "nothing")
