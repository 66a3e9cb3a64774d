"""Delete each check of the data connection's security in turn: a test must notice.

``python -m tests.mutations`` copies the project into a temporary directory,
breaks one check there, and runs the tests that are named for it, which must
fail. A check that can be deleted in silence is a promise that nobody keeps.
``python -m tests.mutations WORD`` tries those whose name has the word.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs

__all__ = ["MUTATIONS", "Mutation", "main"]

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("ftpdata", "tests", "examples")
PATIENCE = 300
TESTS_FAILED = 1


@attrs.frozen(kw_only=True)
class Mutation:
    """One check, and how it is deleted.

    Attributes:
        name: Of the check.
        module: Path of the file.
        check: Text of the check; it stands there once.
        instead: What replaces it.
        tests: Names of tests of which at least one must fail.
    """

    name: str
    module: str
    check: str
    instead: str
    tests: str

    def apply(self, root: Path) -> None:
        """Delete the check in a copy of the project.

        Raises:
            LookupError: The check does not stand there once: this list is out of date.
        """

        path = root / self.module
        text = path.read_text()
        if text.count(self.check) != 1:
            raise LookupError(f"{self.name}: {self.module} does not have this once: {self.check}")

        path.write_text(text.replace(self.check, self.instead))


MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        name="resumption is required",
        module="ftpdata/tls.py",
        check="if self.reuse is SessionReuse.REQUIRED and not tls.session_reused:",
        instead="if False:",
        tests="tests/test_tls.py::test_who_resumes",
    ),
    Mutation(
        name="a refused resumption ends the connection",
        module="ftpdata/endpoint.py",
        check="        if refusal is not None:\n",
        instead="        if False:\n",
        tests="tests/test_tls.py::test_who_resumes",
    ),
    Mutation(
        name="no tickets on data connections",
        module="ftpdata/tls.py",
        check="        context.num_tickets = 0\n",
        instead="",
        tests="tests/test_tls.py::test_no_tickets_are_sent_on_data_connections",
    ),
    Mutation(
        name="a session outlives its connections",
        module="ftpdata/protocol.py",
        check="            leave()\n",
        instead="            pass\n",
        tests="tests/test_tls.py::test_a_session_outlives_its_connections",
    ),
    Mutation(
        name="a further ticket, for clients that use one once",
        module="ftpdata/tls.py",
        check="            control.verify_client_post_handshake()\n",
        instead="            return False\n",
        tests="tests/test_tls.py::test_the_next_ticket_comes_on_the_control_connection",
    ),
    Mutation(
        name="the server has the client take its ticket",
        module="examples/server/commands/transfers.py",
        check="        session.renew_ticket()\n",
        instead="",
        tests="tests/server/test_tls.py::test_a_ticket_is_used_once",
    ),
    Mutation(
        name="no client of TLS 1.2 is asked for a certificate",
        module="ftpdata/tls.py",
        check="            or not _speaks_tls_1_3(context)\n",
        instead="",
        tests="tests/test_tls.py::test_no_client_is_asked_for_a_certificate_in_its_handshake",
    ),
    Mutation(
        name="a bare end of file is a cut (asyncio)",
        module="ftpdata/protocol.py",
        check="if self._tls is not None and self.strict_close and not has_close_notify(self._tls):",
        instead="if False:",
        tests="tests/test_tls.py::test_no_cut_upload_is_taken_for_a_whole_one",
    ),
    Mutation(
        name="a bare end of file is a cut (uvloop)",
        module="ftpdata/protocol.py",
        check="self._eof_received = not self.strict_close",
        instead="self._eof_received = True",
        tests="tests/test_tls.py::test_no_cut_upload_is_taken_for_a_whole_one",
    ),
    Mutation(
        name="data behind an end of file is read (uvloop)",
        module="ftpdata/protocol.py",
        check="                self._hold_undelivered()\n",
        instead="                pass\n",
        tests="tests/test_tls.py::test_what_came_while_the_consumer_was_busy",
    ),
    Mutation(
        name="close_notify before the end of file",
        module="ftpdata/protocol.py",
        check="                self._kept_socket = duplicate_socket(transport)\n"
        "            self._close_transport()\n",
        instead="                self._kept_socket = duplicate_socket(transport)\n"
        "            transport.abort()\n",
        tests="tests/test_tls.py::test_every_download_ends_with_a_close_notify",
    ),
    Mutation(
        name="the peer has everything before the end is clean",
        module="ftpdata/protocol.py",
        check="            if self._undelivered():\n",
        instead="            if False:\n",
        tests="tests/test_tls.py::test_a_client_that_leaves_early_has_no_whole_file",
    ),
    Mutation(
        name="foreign protocols",
        module="ftpdata/tls.py",
        check="if offered and not set(offered) & set(FTP_PROTOCOLS):",
        instead="if False:",
        tests="tests/test_tls.py::test_foreign_protocols_are_refused",
    ),
    Mutation(
        name="a split ClientHello is looked at",
        module="ftpdata/tls.py",
        check="        if hello is None:\n            return\n",
        instead="        if hello is None:\n"
        "            self._incoming = None\n"
        "            return\n",
        tests="tests/test_tls.py::test_foreign_protocols_are_refused",
    ),
    Mutation(
        name="deadline of the handshake",
        module="ftpdata/endpoint.py",
        check="handshake, self.deadlines.handshake, End.HANDSHAKE_TIMEOUT",
        instead="handshake, 5, End.HANDSHAKE_TIMEOUT",
        tests="tests/test_tls.py::test_a_stalled_handshake_ends_at_its_deadline",
    ),
    Mutation(
        name="bytes before the ClientHello",
        module="ftpdata/endpoint.py",
        check="                raise negotiation_failed(error) from error\n",
        instead="                raise\n",
        tests="tests/test_tls.py::test_bytes_before_the_client_hello",
    ),
    Mutation(
        name="peer policy of who connects",
        module="ftpdata/passive.py",
        check="reason = self._policy.check(arrival.host, self._control_peer)",
        instead="reason = None",
        tests="tests/test_passive.py",
    ),
    Mutation(
        name="peer policy of where to connect",
        module="ftpdata/active.py",
        check="reason = policy.check_target(target, control_peer)",
        instead="reason = None",
        tests="tests/test_active.py",
    ),
    Mutation(
        name="privileged ports",
        module="ftpdata/addresses.py",
        check="if port is not None and port < _FIRST_UNPRIVILEGED_PORT and ",
        instead="if False and ",
        tests="tests/test_addresses.py tests/test_active.py",
    ),
    Mutation(
        name="special targets",
        module="ftpdata/addresses.py",
        check="        if special is not None:\n",
        instead="        if False:\n",
        tests="tests/test_addresses.py",
    ),
    Mutation(
        name="nothing in clear crosses AUTH",
        module="examples/server/session.py",
        check="        self._refuse_more()\n        self._protection = context\n",
        instead="        self._protection = context\n",
        tests="tests/server/test_tls.py::test_nothing_said_in_clear_is_taken_across_the_switch",
    ),
    Mutation(
        name="AUTH forgets the login",
        module="examples/server/session.py",
        check="        self.reset()\n        self._was_protected = True\n",
        instead="        self._was_protected = True\n",
        tests="tests/server/test_tls.py::test_a_login_in_clear_is_not_one_in_tls",
    ),
    Mutation(
        name="no login in clear where TLS is required",
        module="examples/server/commands/access.py",
        check="if session.settings.require_tls and not session.is_protected:",
        instead="if False:",
        tests="tests/server/test_tls.py::test_before_tls",
    ),
    Mutation(
        name="no transfer in clear where TLS is required",
        module="examples/server/commands/transfers.py",
        check="if session.settings.require_tls and session.data_tls is None:",
        instead="if False:",
        tests="tests/server/test_tls.py::test_within_tls",
    ),
    Mutation(
        name="resumption is required by the server",
        module="examples/server/session.py",
        check="            if self.settings.require_session_reuse\n",
        instead="            if False\n",
        tests="tests/server/test_tls.py::test_a_client_that_does_not_resume",
    ),
    Mutation(
        name="foreign protocols on the control connection",
        module="ftpdata/tls.py",
        check="        context.sslobject_class = _ServerObject\n        if self.prepare",
        instead="        if self.prepare",
        tests="tests/server/test_tls.py::test_a_browser_is_not_served",
    ),
)


def survivors(mutations: tuple[Mutation, ...]) -> list[str]:
    """Try each mutation; return the names of those that no test has noticed."""

    found = []
    for mutation in mutations:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            for part in COPIED:
                shutil.copytree(
                    ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__")
                )
            shutil.copy(ROOT / "pyproject.toml", root)
            mutation.apply(root)
            command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
            done = subprocess.run(
                [*command, *mutation.tests.split()],
                cwd=root,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
            is_noticed = done.returncode == TESTS_FAILED and failed
            shown = failed[0][7:100] if is_noticed else done.stdout[-400:]
            verdict = "noticed " if is_noticed else "SURVIVED"
            sys.stdout.write(f"{verdict} {mutation.name}\n         {shown}\n")
            sys.stdout.flush()
            if not is_noticed:
                found.append(mutation.name)

    return found


def main(words: list[str]) -> int:
    """Try the mutations that have one of the words in their names, or all."""

    chosen = tuple(m for m in MUTATIONS if not words or any(word in m.name for word in words))
    return 1 if survivors(chosen) or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
