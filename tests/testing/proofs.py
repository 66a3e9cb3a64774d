"""How the checks are proved: a table of defects, and what a check says of each.

Each module of `tests/testing/defects` has a list ``DEFECTS``, for the checks of the module of
that name in ``ftpdata/testing/_checks``. `test_checks.py` finds them all. A row names a check, a
session of the scripted server that has just this defect, and words that the check must say of
it::

    class AcceptsStrangers(Session):
        \"\"\"Gives the data connection to whoever comes first.\"\"\"

        def is_welcome(self, address: str) -> bool:
            return True

    DEFECTS = [
        Defect("strangers-get-nothing", AcceptsStrangers, "a stranger"),
        Defect("noop-is-200", saying("NOOP", "500 what?"), "500"),
    ]

A check has one row or more. All of them are tried, and each check is also tried with a server
without a defect, which has to pass: in clear, and in TLS if it needs TLS. A proof is to take well
under a second: where the defect is that nothing comes, the row gives the check less ``patience``.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import attrs

from ftpdata.testing import CheckResult, Outcome, Protection, ServerUnderTest, check_server
from tests.harness.tls import certificate_files
from tests.testing.scripted_server import PASSWORD, USER, Session, scripted_server

__all__ = ["Defect", "all_defects", "try_check"]


@attrs.frozen
class Defect:
    """A defect, and what a check says of it.

    Attributes:
        check: Name of the check.
        session: The session that has it.
        why: What the check says, among other words.
        result: How the check ends.
        protection: How the connections are protected.
        patience: Seconds that the check waits; little where the server does not answer.
        late: Seconds after which a reply is late.
    """

    check: str
    session: type[Session]
    why: str
    result: Outcome = Outcome.FAIL
    protection: Protection = Protection.CLEAR
    patience: float = 10.0
    late: float = 10.0

    def __str__(self) -> str:
        return f"{self.check}: {self.session.__name__}"


def all_defects() -> list[Defect]:
    """Return the rows of all tables."""

    found: list[Defect] = []
    for path in sorted(Path(__file__).with_name("defects").glob("*.py")):
        module = importlib.import_module(f"tests.testing.defects.{path.stem}")
        found += module.DEFECTS
    return found


async def try_check(
    name: str,
    root: Path,
    session: type[Session] = Session,
    *,
    protection: Protection = Protection.CLEAR,
    patience: float = 10.0,
    late: float = 10.0,
) -> CheckResult:
    """Run one check against a scripted server.

    Args:
        name: The check.
        root: The directory to serve.
        session: The session of the server.
        protection: How the connections are protected.
        patience: Seconds that the check waits.
        late: Seconds after which a reply is late.
    """

    async with scripted_server(
        root,
        session,
        certificate=None if protection is Protection.CLEAR else certificate_files(),
        is_implicit=protection is Protection.IMPLICIT,
    ) as running:
        server = ServerUnderTest(
            *(running.host, running.port, USER, PASSWORD, protection),
            writable="/",
            local=root,
            is_slow_allowed=True,
            patience=patience,
            late=late,
        )
        (result,) = await check_server(server, only=[name])
        return result
