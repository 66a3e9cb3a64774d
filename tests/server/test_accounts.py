"""Who may log in."""

from __future__ import annotations

import hmac

import pytest

from examples.server import accounts
from examples.server.accounts import Accounts, User


def test_right_password_logs_in() -> None:
    """A known name with its password is a user."""

    assert Accounts([("ann", "secret")]).check("ann", "secret") == User("ann")


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", ""),
        ("ann", "Secret"),
        ("ann", "secre"),
        ("ann", "secrets"),
        ("bob", "secret"),
        ("", ""),
        ("ann", "secret\udcff"),
        ("ANN", "secret"),
        ("anonymous", "me@"),
    ],
)
def test_anything_else_does_not(name: str, password: str) -> None:
    """A wrong password or an unknown name is nobody."""

    assert Accounts([("ann", "secret")]).check(name, password) is None


def test_password_of_any_bytes_is_compared() -> None:
    """Passwords that are not UTF-8 or not ASCII work."""

    accounts = Accounts([("ann", "p\udcffä")])
    assert accounts.check("ann", "p\udcffä")
    assert not accounts.check("ann", "p\udcfeä")


@pytest.mark.parametrize("name", ["anonymous", "ftp", "Anonymous"])
def test_anonymous_takes_any_password(name: str) -> None:
    """Anonymous users say any password, if they are let in at all."""

    assert Accounts(anonymous=True).check(name, "me@example.org") == User(name.lower(), True)
    assert Accounts(anonymous=False).check(name, "me@example.org") is None


@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_passwords_are_compared_in_constant_time_also_for_unknown_names(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One comparison of equal length happens, whether the name exists or not."""

    lengths: list[tuple[int, int]] = []

    def compare(a: bytes, b: bytes) -> bool:
        lengths.append((len(a), len(b)))
        return hmac.compare_digest(a, b)

    checked = Accounts([("ann", "secret")])
    with monkeypatch.context() as patch:
        patch.setattr(accounts, "hmac", _Hmac(compare))
        checked.check(name, "a wrong password of another length")

    assert lengths == [(32, 32)]


class _Hmac:
    def __init__(self, compare: object) -> None:
        self.compare_digest = compare
        self.digest = hmac.digest


def test_argument_is_parsed() -> None:
    """NAME:PASSWORD; the password may hold colons and may be empty."""

    assert Accounts.parse("ann:a:b") == ("ann", "a:b")
    assert Accounts.parse("ann:") == ("ann", "")
    for wrong in ("ann", ":secret", ""):
        with pytest.raises(ValueError, match="NAME:PASSWORD"):
            Accounts.parse(wrong)
