"""Delete each security check of the data connection in turn: a test must notice.

``python -m tests.mutations`` copies the project into a temporary directory,
breaks one check there, and runs the tests that are named for it, which must
fail. A check that can be deleted unnoticed is a promise that nobody keeps.
``python -m tests.mutations WORD`` tries the checks whose names contain the word.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs

__all__ = ["MUTATIONS", "Mutation", "main"]

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("ftpdata", "tests", "examples")
PATIENCE = 120.0
TESTS_FAILED = 1

NOTICED = "noticed"
SURVIVED = "SURVIVED"
HUNG = "HUNG"


@attrs.frozen(kw_only=True)
class Mutation:
    """One check, and how it is deleted.

    Attributes:
        name: Name of the check.
        module: Path of the file.
        check: Text of the check, which occurs once in the file.
        instead: The text that replaces it.
        tests: Names of tests of which at least one must fail.
        patience: Seconds after which the tests are considered to hang, instead of failing.
    """

    name: str
    module: str
    check: str
    instead: str
    tests: str
    patience: float = PATIENCE

    def apply(self, root: Path) -> None:
        """Delete the check in a copy of the project.

        Raises:
            LookupError: The check does not occur exactly once: this list is out of date.
        """

        path = root / self.module
        text = path.read_text()
        if text.count(self.check) != 1:
            raise LookupError(f"{self.name}: {self.module} does not have this once: {self.check}")

        path.write_text(text.replace(self.check, self.instead))


MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        name="objects: what is left of a download is of the same version",
        module="ftpdata/objectstore.py",
        check='        etag = found.meta["e_tag"]\n',
        instead="        pass\n",
        tests=(
            "tests/test_objectstore.py"
            "::test_what_is_left_of_a_download_is_of_the_same_version"
        ),
    ),
    Mutation(
        name="objects: a version that is newer than the copy is not deleted",
        module="ftpdata/objectstore.py",
        check="_version(await _asked(obstore.head_async(store, old))) != _version(before)",
        instead="False",
        tests=(
            "tests/test_objectstore.py"
            "::test_an_object_that_is_replaced_while_it_is_moved_stays"
        ),
    ),
    Mutation(
        name="objects: the version that was promised is sent, or none",
        module="examples/server/objects.py",
        check="length=max(0, length), etag=self._etag\n",
        instead="length=max(0, length)\n",
        tests=(
            "tests/server/test_objects.py"
            "::test_an_object_that_changes_before_it_is_sent_is_not_sent"
        ),
    ),
    Mutation(
        name="objects: no upload hides in a file",
        module="examples/server/objects.py",
        check="        if any(files):\n",
        instead="        if False:\n",
        tests="tests/server/test_objects.py::test_what_an_object_store_cannot_do",
    ),
    Mutation(
        name="resumption is required",
        module="ftpdata/tls/policy.py",
        check="if self.reuse is SessionReuse.REQUIRED and not tls.session_reused:",
        instead="if False:",
        tests="tests/tls/test_policy.py::test_who_resumes",
    ),
    Mutation(
        name="a refused resumption ends the connection",
        module="ftpdata/opening/_link.py",
        check="        if refusal is not None:\n",
        instead="        if False:\n",
        tests="tests/tls/test_policy.py::test_who_resumes",
    ),
    Mutation(
        name="a client that checks names has one to check",
        module="ftpdata/tls/policy.py",
        check="        if not self.server_side and self.context.check_hostname and not",
        instead="        if False and not",
        tests="tests/tls/test_policy.py::test_a_clients_context_is_not_a_servers",
    ),
    Mutation(
        name="a client that must resume has a session",
        module="ftpdata/tls/policy.py",
        check="        if session is None and reuse is SessionReuse.REQUIRED:\n",
        instead="        if False:\n",
        tests="tests/tls/test_policy.py"
        "::test_what_a_clients_context_refuses_is_refused_at_the_call",
    ),
    Mutation(
        name="no tickets where none is needed",
        module="ftpdata/tls/policy.py",
        check="context.num_tickets = 1 if reuse is SessionReuse.REQUIRED else 0\n",
        instead="context.num_tickets = 1\n",
        tests="tests/tls/test_policy.py::test_no_tickets_are_sent_where_none_is_needed",
    ),
    Mutation(
        name="a ticket on each data connection, for clients that use one once",
        module="ftpdata/tls/policy.py",
        check="context.num_tickets = 1 if reuse is SessionReuse.REQUIRED else 0\n",
        instead="context.num_tickets = 0\n",
        tests="tests/tls/test_policy.py"
        "::test_a_data_connection_brings_the_ticket_for_the_next_one",
    ),
    Mutation(
        name="no ticket while the client may be sending",
        module="ftpdata/tls/_channel.py",
        check="            self._tickets = self._outgoing.read()\n",
        instead="            pass\n",
        tests="tests/tls/test_policy.py"
        "::test_a_data_connection_brings_the_ticket_for_the_next_one",
    ),
    Mutation(
        name="no ticket for a stranger",
        module="ftpdata/tls/_channel.py",
        check="            self._tickets = self._outgoing.read()\n",
        instead="            pass\n",
        tests="tests/tls/test_policy.py::test_a_stranger_gets_no_ticket",
    ),
    Mutation(
        name="the acknowledgement of a ticket is not that of data",
        module="ftpdata/tls/_channel.py",
        check="self._taken += len(self._tickets) + before\n",
        instead="self._taken += before\n",
        tests="tests/tls/test_channel.py"
        "::test_tickets_are_acknowledged_like_the_data_after_them",
    ),
    Mutation(
        name="a reset is a clean end only where the peer has everything",
        module="ftpdata/connection/_loss.py",
        check="if is_reset and delivery is not None and delivery.has_everything:\n",
        instead="if is_reset and delivery is not None:\n",
        tests="tests/tls/test_policy.py::test_a_client_that_leaves_early_has_no_whole_file",
    ),
    Mutation(
        name="an error of the system resets a connection that was sending",
        module="ftpdata/connection/protocol.py",
        check="            reset_at_loss(wire.transport)\n\n        self._conclude()\n",
        instead="            pass\n\n        self._conclude()\n",
        tests="tests/connection/test_protocol.py"
        "::test_an_error_of_the_system_is_a_reset_for_the_peer",
    ),
    Mutation(
        name="a stream that was cut here does not end quietly",
        module="ftpdata/transfers/streaming.py",
        check="            if self.result.end is not End.CLEAN:\n",
        instead="            if False:\n",
        tests="tests/transfers/test_transfers.py"
        "::test_a_stream_that_was_cut_here_does_not_end_quietly",
    ),
    Mutation(
        name="a source that has ended and is gone has lost nothing",
        module="ftpdata/transfers/relaying.py",
        check="        if sight.is_gone and not has_ended:\n",
        instead="        if sight.is_gone:\n",
        tests="tests/transfers/test_relaying.py::test_a_source_that_has_sent_everything_may_go",
    ),
    Mutation(
        name="no message becomes a reply unless whoever raises the error says so",
        module="ftpdata/errors.py",
        check="            return self.default_reply_text\n",
        instead="            return self.message\n",
        tests="tests/test_errors.py::test_reply_quotes_nobody_but_us_and_the_peer",
    ),
    Mutation(
        name="a session outlives its connections",
        module="ftpdata/connection/_wire.py",
        check="            leave()\n",
        instead="            pass\n",
        tests="tests/tls/test_policy.py::test_a_session_outlives_its_connections",
    ),
    Mutation(
        name="a further ticket, for clients that use one once",
        module="ftpdata/tls/policy.py",
        check="            control.verify_client_post_handshake()\n",
        instead="            return False\n",
        tests="tests/tls/test_policy.py::test_the_next_ticket_comes_on_the_control_connection",
    ),
    Mutation(
        name="the server has the client take its ticket",
        module="examples/server/session.py",
        check="            data_tls.renew_ticket(self._control.tls)\n",
        instead="            pass\n",
        tests="tests/server/test_tls.py::test_a_ticket_is_used_once",
    ),
    Mutation(
        name="no client of TLS 1.2 is asked for a certificate",
        module="ftpdata/tls/policy.py",
        check="            or not _speaks_tls_1_3(context)\n",
        instead="",
        tests="tests/tls/test_policy.py::test_no_client_is_asked_for_a_certificate_in_its_handshake",
    ),
    Mutation(
        name="a bare end of file is a cut (asyncio)",
        module="ftpdata/connection/protocol.py",
        check="        if is_truncated(wire, strict_close=self.strict_close):\n",
        instead="        if False:\n",
        tests="tests/tls/test_policy.py::test_no_cut_upload_is_taken_for_a_whole_one",
    ),
    Mutation(
        name="a bare end of file is a cut (uvloop)",
        module="ftpdata/connection/_wire.py",
        check="self.eof_received = not strict_close",
        instead="self.eof_received = True",
        tests="tests/tls/test_policy.py::test_the_tls_of_the_event_loop",
    ),
    Mutation(
        name="data after an end of file is read (uvloop)",
        module="ftpdata/connection/protocol.py",
        check="                wire.hold_undelivered(strict_close=self.strict_close)\n",
        instead="                pass\n",
        tests="tests/tls/test_policy.py::test_the_tls_of_the_event_loop",
    ),
    Mutation(
        name="an end that came while reading was paused (TLS)",
        module="ftpdata/tls/_transport.py",
        check="                self._has_more = size > 0\n",
        instead="                self._has_more = self.channel.holds_data\n",
        tests="tests/tls/test_transport.py",
    ),
    Mutation(
        name="an end is announced over data that nobody has read (TLS)",
        module="ftpdata/tls/_channel.py",
        check="            while self.read_into(scratch.decrypted)[0]:\n",
        instead="            while False:\n",
        tests="tests/tls/test_channel.py",
    ),
    Mutation(
        name="keys are not changed without an end (TLS)",
        module="ftpdata/tls/_transport.py",
        check="        if self._answered > MOST_ANSWERS:\n",
        instead="        if False:\n",
        tests="tests/tls/test_transport.py::test_a_peer_that_asks_for_keys_without_an_end",
    ),
    Mutation(
        name="what TLS itself sends counts",
        module="ftpdata/tls/_channel.py",
        check="            self._taken += len(data)\n",
        instead="            pass\n",
        tests="tests/tls/test_channel.py",
    ),
    Mutation(
        name="a handshake in drops",
        module="ftpdata/opening/_link.py",
        check="patience = max(began_at, self._wait.deadlines_from) + limit - now",
        instead="patience = limit",
        tests="tests/opening/test_link.py::test_a_handshake_in_drops_has_no_more_time",
    ),
    Mutation(
        name="a session outlives connections that nobody took",
        module="ftpdata/opening/_link.py",
        check="            self.channel.leave()\n",
        instead="            pass\n",
        tests="tests/tls/test_policy.py::test_a_session_outlives_connections_that_nobody_took",
    ),
    Mutation(
        name="a small download in TLS is being finished from the beginning",
        module="ftpdata/opening/endpoint.py",
        check="            dtp.bypass.account_sent(carried.sent, eof=carried.is_end)\n",
        instead="            pass\n",
        tests="tests/transfers/test_direct.py::test_a_peer_that_leaves_before_it_has_all_has_no_whole_file",
    ),
    Mutation(
        name="a ClientHello in too many pieces",
        module="ftpdata/tls/policy.py",
        check="        if self._looked_at > MOST_LOOKED_AT:\n",
        instead="        if False:\n",
        tests="tests/tls/test_policy.py::test_a_client_hello_cannot_be_split_without_an_end",
    ),
    Mutation(
        name="close_notify before the end of file",
        module="ftpdata/connection/_ending.py",
        check="                wire.keep_open()\n            wire.close()\n",
        instead="                wire.keep_open()\n            transport.abort()\n",
        tests="tests/tls/test_policy.py::test_every_download_ends_with_a_close_notify",
    ),
    Mutation(
        name="the peer has everything before the end is clean",
        module="ftpdata/connection/_loss.py",
        check="        if delivery.undelivered:\n",
        instead="        if False:\n",
        tests="tests/tls/test_policy.py"
        "::test_a_transport_that_its_host_closes_has_not_delivered_the_rest",
    ),
    Mutation(
        name="the peer's end of TLS is no answer to ours",
        module="ftpdata/connection/_ending.py",
        check="                wire.keep_open()\n",
        instead="",
        tests="tests/tls/test_policy.py::test_a_client_may_end_its_side_before_it_reads",
    ),
    Mutation(
        name="nothing counts after the peer's end of TLS",
        module="ftpdata/tls/_transport.py",
        check="        if self._is_answered or (self._is_at_end and not self._is_closing):\n",
        instead="        if self._is_at_end and not self._is_closing:\n",
        tests="tests/tls/test_transport.py::test_an_owner_keeps_it_open_after_both_ends",
    ),
    Mutation(
        name="foreign protocols",
        module="ftpdata/tls/policy.py",
        check="if offered and not set(offered) & set(FTP_PROTOCOLS):",
        instead="if False:",
        tests="tests/tls/test_policy.py::test_foreign_protocols_are_refused",
    ),
    Mutation(
        name="a split ClientHello is looked at",
        module="ftpdata/tls/policy.py",
        check="        if hello is None:\n            return\n",
        instead="        if hello is None:\n"
        "            self._incoming = None\n"
        "            return\n",
        tests="tests/tls/test_policy.py::test_foreign_protocols_are_refused",
    ),
    Mutation(
        name="deadline of the handshake",
        module="ftpdata/opening/endpoint.py",
        check="link.protect(self._tls, self.deadlines.handshake)",
        instead="link.protect(self._tls, 5)",
        tests="tests/tls/test_policy.py::test_a_stalled_handshake_ends_at_its_deadline",
    ),
    Mutation(
        name="a look at a ClientHello misses no offer",
        module="ftpdata/tls/_client_hello.py",
        check="            if kind == ALPN:\n                return True\n",
        instead="",
        tests="tests/tls/test_client_hello.py",
    ),
    Mutation(
        name="bytes before the ClientHello",
        module="ftpdata/opening/_link.py",
        check="            raise negotiation_failed(error) from error\n",
        instead="            raise\n",
        tests="tests/tls/test_policy.py::test_bytes_before_the_client_hello",
    ),
    Mutation(
        name="peer policy of who connects",
        module="ftpdata/opening/passive.py",
        check="reason = self._policy.check(arrival.host, self._control_peer)",
        instead="reason = None",
        tests="tests/opening/test_passive.py",
    ),
    Mutation(
        name="peer policy of where to connect",
        module="ftpdata/opening/active.py",
        check="reason = policy.check_target(target, control_peer)",
        instead="reason = None",
        tests="tests/opening/test_active.py",
    ),
    Mutation(
        name="privileged ports",
        module="ftpdata/addresses.py",
        check="if port is not None and port < _FIRST_UNPRIVILEGED_PORT and ",
        instead="if False and ",
        tests="tests/test_addresses.py tests/opening/test_active.py",
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
        module="examples/server/commands/protection.py",
        check="    session.refuse_more()\n    session.protection.begin_after_reply(context)\n",
        instead="    session.protection.begin_after_reply(context)\n",
        tests="tests/server/test_tls.py::test_nothing_said_in_clear_is_taken_across_the_switch",
    ),
    Mutation(
        name="AUTH forgets the login",
        module="examples/server/session.py",
        check="            self.forget()\n            self.protection.began(context)\n",
        instead="            self.protection.began(context)\n",
        tests="tests/server/test_tls.py::test_a_login_in_clear_is_not_one_in_tls",
    ),
    Mutation(
        name="no login in clear where TLS is required",
        module="examples/server/commands/access.py",
        check="if session.settings.require_tls and not session.protection.was_begun:",
        instead="if False:",
        tests="tests/server/test_tls.py::test_before_tls",
    ),
    Mutation(
        name="no transfer in clear where TLS is required",
        module="examples/server/commands/transfers.py",
        check="if session.settings.require_tls and session.protection.data_tls is None:",
        instead="if False:",
        tests="tests/server/test_tls.py::test_within_tls",
    ),
    Mutation(
        name="resumption is required by the server",
        module="examples/server/protection.py",
        check="SessionReuse.REQUIRED if settings.require_session_reuse else",
        instead="SessionReuse.REQUIRED if False else",
        tests="tests/server/test_tls.py::test_a_client_that_does_not_resume",
    ),
    Mutation(
        name="foreign protocols on the control connection",
        module="ftpdata/tls/policy.py",
        check="        context.sslobject_class = _ControlObject\n        if self.prepare",
        instead="        if self.prepare",
        tests="tests/server/test_tls.py::test_a_browser_is_not_served",
    ),
    Mutation(
        name="special targets of a wider network",
        module="ftpdata/addresses.py",
        check="    if never or policy.special_targets:\n",
        instead="    if True:\n",
        tests="tests/test_addresses.py::test_check_of_a_target",
    ),
    Mutation(
        name="what leads nowhere is never a target",
        module="ftpdata/addresses.py",
        check="    never, _ = _range_of(target.ip, _NEVER)\n",
        instead="    never = None\n",
        tests="tests/test_addresses.py::test_check_of_a_target",
    ),
    Mutation(
        name="link-local targets are the client itself",
        module="ftpdata/addresses.py",
        check="inside, ranges = _range_of(target.ip, _ONLY_ITSELF)",
        instead="return None",
        tests="tests/test_addresses.py::test_check_of_a_target",
    ),
    Mutation(
        name="an IPv4 address mapped into IPv6 is IPv4",
        module="ftpdata/addresses.py",
        check="return address.ipv4_mapped or address",
        instead="return address",
        tests="tests/opening/test_active.py::test_generated_arguments_lead_nowhere_else",
    ),
    Mutation(
        name="numbers are ASCII digits",
        module="ftpdata/addresses.py",
        check='_NUMBER = r"0{0,8}[0-9]{1,5}"',
        instead='_NUMBER = r"[+]?[0-9_]{1,13}"',
        tests="tests/test_addresses.py::test_bad_number_in_port",
    ),
    Mutation(
        name="pooled connections are matched by address",
        module="ftpdata/opening/pool.py",
        check="reservation = self.waiting.get(_peer_key(arrival.host))",
        instead="reservation = next(iter(self.waiting.values()), None)",
        tests="tests/opening/test_pool.py::test_two_clients_on_one_port"
        " tests/opening/test_pool.py::test_theft_races",
    ),
    Mutation(
        name="what came before a reservation is not its own",
        module="ftpdata/opening/pool.py",
        check="            listener.acceptor.accept()\n            if peer in listener",
        instead="            if peer in listener",
        tests="tests/opening/test_pool.py::test_what_came_before_the_reservation_is_not_its_own",
    ),
    Mutation(
        name="what came through a proxy before a reservation is not its own",
        module="ftpdata/opening/pool.py",
        check="elif arrival.number <= reservation.since:",
        instead="elif False:",
        tests="tests/opening/test_pool.py::test_what_came_through_a_proxy_before_is_not_its_own",
    ),
    Mutation(
        name="an address waits on a port once",
        module="ftpdata/opening/pool.py",
        check="if peer in listener.waiting or not listener.acceptor.is_open:",
        instead="if not listener.acceptor.is_open:",
        tests="tests/opening/test_pool.py::test_one_address_gets_different_ports_and_then_none",
    ),
    Mutation(
        name="a port without its connection rests",
        module="ftpdata/opening/pool.py",
        check="            if self._rest and listener.acceptor.is_open:\n",
        instead="            if False:\n",
        tests="tests/opening/test_pool.py::test_a_port_rests_after_a_reservation_without_a_connection",
    ),
    Mutation(
        name="a session that asks again gets the port that rests for it",
        module="ftpdata/opening/pool.py",
        check="chain(self._resting_for(host, peer, owner), self.ports.shuffled())",
        instead="self.ports.shuffled()",
        tests="tests/opening/test_pool.py::test_a_client_that_asks_again_locks_nobody_out",
    ),
    Mutation(
        name="a port rests for the others of an address only",
        module="ftpdata/opening/pool.py",
        check="            if owner is not None and rests[1] is owner:\n",
        instead="            if rests:\n",
        tests="tests/opening/test_pool.py::test_a_port_rests_after_a_reservation_without_a_connection",
    ),
    Mutation(
        name="reservations expire",
        module="ftpdata/opening/pool.py",
        check="call_later(expiry, self._expire)",
        instead="call_later(3600, self._expire)",
        tests="tests/opening/test_pool.py::test_reservations_expire",
    ),
    Mutation(
        name="ports are not in sequence",
        module="ftpdata/opening/ports.py",
        check="index = secrets.randbelow(last + 1)",
        instead="index = 0",
        tests="tests/opening/test_ports.py::test_the_first_port_cannot_be_guessed",
    ),
    Mutation(
        name="PROXY headers of trusted proxies only",
        module="ftpdata/opening/_acceptor.py",
        check="elif not self._proxies.trusts(peername[0]):",
        instead="elif False:",
        tests="tests/opening/test_acceptor.py::test_a_header_from_elsewhere_is_not_believed",
    ),
    Mutation(
        name="the address behind the proxy is judged",
        module="ftpdata/opening/_acceptor.py",
        check="Arrival(source.host, header.number, source)",
        instead="Arrival(header.host, header.number, source)",
        tests="tests/opening/test_acceptor.py::test_the_client_behind_the_proxy_gets_its_connection",
    ),
    Mutation(
        name="health checks of a proxy are nobody's connection",
        module="ftpdata/opening/_acceptor.py",
        check="        elif parsed.source is None:\n",
        instead="        elif False:\n",
        tests="tests/opening/test_acceptor.py::test_health_checks_are_closed_without_a_word",
    ),
    Mutation(
        name="deadline of the PROXY header",
        module="ftpdata/opening/_header_reader.py",
        check="            proxies.timeout, self._finish, None,",
        instead="            3600, self._finish, None,",
        tests="tests/opening/test_acceptor.py::test_a_header_that_never_comes",
    ),
    Mutation(
        name="long PROXY headers",
        module="ftpdata/opening/_header_reader.py",
        check="            if len(self._data) > self._limit:\n",
        instead="            if False:\n",
        tests="tests/opening/test_acceptor.py::test_a_long_header_is_refused",
    ),
    Mutation(
        name="connections without a PROXY header are bounded",
        module="ftpdata/opening/_acceptor.py",
        check="            if len(self._headers) >= HEADERS_AT_ONCE:\n",
        instead="            if False:\n",
        tests="tests/opening/test_acceptor.py::test_connections_without_a_header_are_bounded",
    ),
    Mutation(
        name="without descriptors a listener rests",
        module="ftpdata/opening/_acceptor.py",
        check="            self._loop.remove_reader(self._listener.fileno())\n"
        "            self._watches = False\n",
        instead="            pass\n",
        tests="tests/opening/test_passive.py::test_without_descriptors_the_listener_rests_and_recovers",
    ),
    Mutation(
        name="limit of all",
        module="ftpdata/limits.py",
        check="        if self.total >= self.limit:\n",
        instead="        if False:\n",
        tests="tests/test_limits.py",
    ),
    Mutation(
        name="limit of one address or user",
        module="ftpdata/limits.py",
        check="        if used >= self.limit_per_key:\n",
        instead="        if False:\n",
        tests="tests/test_limits.py",
    ),
    Mutation(
        name="addresses that fail too often",
        module="ftpdata/limits.py",
        check="return over if over > self._interval * 1e-3 else 0.0",
        instead="return 0.0",
        tests="tests/test_limits.py",
    ),
    Mutation(
        name="many IPv6 addresses of one client are one",
        module="ftpdata/limits.py",
        check="return str(ipaddress.IPv6Network((int(ip), ipv6_prefix), strict=False))",
        instead="return str(ip)",
        tests="tests/test_limits.py",
    ),
    Mutation(
        name="the server refuses addresses that fail too often",
        module="examples/server/server.py",
        check="            await self._shared.attempts.check(peer)\n",
        instead="",
        tests="tests/server",
    ),
    Mutation(
        name="sessions of one address",
        module="examples/server/places.py",
        check="if self._by_address[address] >= self._per_address:",
        instead="if False:",
        tests="tests/server/test_server.py tests/server/test_places.py"
        " tests/server/test_session.py tests/server/test_proxied.py",
    ),
    Mutation(
        name="sessions of one address, over all processes",
        module="examples/server/places.py",
        check="except (BlockingIOError, PermissionError):",
        instead="except BlockingIOError:\n                pass\n"
        "            except PermissionError:",
        tests="tests/server/test_places.py",
    ),
    Mutation(
        name="the server counts listeners",
        module="examples/server/passive.py",
        check="slot = self._usage.take_listener(session.peer)",
        instead="slot = Usage().take_listener(session.peer)",
        tests="tests/server/test_passive.py::test_listeners_of_one_address",
    ),
    Mutation(
        name="a private address for a public client is warned of",
        module="ftpdata/opening/advertising.py",
        check="    if peer.is_global and not told.is_global:\n",
        instead="    if False:\n",
        tests="tests/opening/test_advertising.py tests/opening/test_nat.py",
    ),
    Mutation(
        name="the address by the client's network",
        module="ftpdata/opening/advertising.py",
        check="            if ip in network:\n",
        instead="            if True:\n",
        tests="tests/opening/test_advertising.py::test_the_most_precise_network_decides",
    ),
    Mutation(
        name="only EPSV where PASV is switched off",
        module="ftpdata/opening/nat.py",
        check="        if self.epsv_only:\n",
        instead="        if False:\n",
        tests="tests/opening/test_nat.py::test_only_epsv",
    ),
    Mutation(
        name="an upload without its end mark is cut",
        module="ftpdata/codecs/_decoding.py",
        check="        if not self._complete:\n            raise Trunc",
        instead="        if False:\n            raise Trunc",
        tests="tests/codecs/test_decoding.py"
        " tests/transfers/test_modes.py::test_an_upload_without_its_end_mark_is_cut",
    ),
    Mutation(
        name="bombs are stopped at the ratio",
        module="ftpdata/codecs/_decoding.py",
        check="            and output > limits.ratio * self._input\n",
        instead="            and False\n",
        tests="tests/codecs/test_decoding.py::test_bombs_are_stopped_at_the_ratio",
    ),
    Mutation(
        name="bombs are stopped at the size",
        module="ftpdata/codecs/limits.py",
        check="if limits.output is not None and size > limits.output:",
        instead="if False:",
        tests="tests/codecs/test_decoding.py::test_bombs_are_stopped_at_the_size_limit"
        " tests/codecs/test_recordfile.py::test_a_file_of_records_has_the_size_limit",
    ),
    Mutation(
        name="deadline of a stall",
        module="ftpdata/deadlines.py",
        check="            if patience is not None and now >= self._progress_at + patience:\n",
        instead="            if False:\n",
        tests="tests/test_deadlines.py::test_stall",
    ),
    Mutation(
        name="deadline of the first byte",
        module="ftpdata/deadlines.py",
        check="if not self._has_begun and self.deadlines.first_byte is not None:",
        instead="if False:",
        tests="tests/test_deadlines.py::test_first_byte",
    ),
    Mutation(
        name="minimum rate",
        module="ftpdata/deadlines.py",
        check="if moved < (limits.minimum_rate or 0.0) * (now - self._window_at):",
        instead="if False:",
        tests="tests/test_deadlines.py::test_minimum_rate",
    ),
    Mutation(
        name="a transfer heeds its deadlines",
        module="ftpdata/transfers/_watch.py",
        check="        if end is not None:\n            self._dtp.abort(end)\n            return\n",
        instead="",
        tests="tests/transfers/test_transfers.py tests/transfers/test_supervisor.py",
    ),
    Mutation(
        name="a port that was awaited in vain, or found, is not kept",
        module="ftpdata/opening/passive.py",
        check="if not (self.is_kept and has_come and self.acceptor.refused == 0):",
        instead="if not self.is_kept:",
        tests="tests/opening/test_passive.py::test_a_connection_awaited_in_vain_ends_the_port",
    ),
    Mutation(
        name="what came before the reservation is not its owner's",
        module="ftpdata/opening/passive.py",
        check="            if listener.acceptor.refused or not listener.acceptor.is_open:\n",
        instead="            if not listener.acceptor.is_open:\n",
        tests="tests/opening/test_passive.py::test_a_port_that_somebody_has_found_is_given_up",
    ),
    Mutation(
        name="a small file that is sent directly has arrived",
        module="ftpdata/transfers/_direct.py",
        check="        if verdict is Verdict.DELIVERED:\n",
        instead="        if True:\n",
        tests="tests/transfers/test_direct.py::test_what_is_not_delivered_does_not_linger"
        " tests/transfers/test_direct.py::test_the_way_on_from_everything_else",
    ),
    Mutation(
        name="a reset that a look takes away is reported",
        module="ftpdata/connection/_delivery.py",
        check="        if sight.is_gone:\n            return Verdict.LOST\n",
        instead="",
        tests="tests/connection/test_delivery.py::test_what_a_look_means",
    ),
    Mutation(
        name="in clear, a reset after everything was acknowledged is a reset",
        module="ftpdata/connection/_delivery.py",
        check="        if sight.error is not None and not (has_all and self._is_protected):\n"
        "            return Verdict.LOST\n",
        instead="",
        tests="tests/connection/test_delivery.py::test_a_reset_after_everything",
    ),
    Mutation(
        name="data on their way may take as long as the stall limit",
        module="ftpdata/connection/_delivery.py",
        check="        is_stall = outstanding > 0 and self._stall is not None\n",
        instead="        is_stall = False\n",
        tests="tests/connection/test_delivery.py"
        "::test_data_on_their_way_may_take_as_long_as_the_stall_limit",
    ),
    Mutation(
        name="an end in TLS that the socket did not take is announced",
        module="ftpdata/transfers/_direct.py",
        check="        if self.is_left or self.sent != length:\n",
        instead="        if self.sent != length:\n",
        tests="tests/transfers/test_direct.py::test_the_way_on_in_tls",
    ),
    Mutation(
        name="a connection that nobody has taken is reset (passive)",
        module="ftpdata/opening/_link.py",
        check="        reset_socket(self.sock)\n",
        instead="        self.sock.close()\n",
        tests="tests/opening/test_endpoint.py::test_a_peer_that_has_come_in_vain_sees_a_reset",
    ),
    Mutation(
        name="a connection that nobody has taken is reset (active)",
        module="ftpdata/opening/active.py",
        check="                reset_socket(sock)\n",
        instead="                sock.close()\n",
        tests="tests/opening/test_active.py::test_a_client_that_has_accepted_sees_a_reset",
    ),
    Mutation(
        name="a connection of which no transport was made is reset",
        module="ftpdata/opening/endpoint.py",
        check="        reset_socket(sock)\n",
        instead="        sock.close()\n",
        tests="tests/opening/test_endpoint.py::test_a_peer_that_has_come_in_vain_sees_a_reset",
    ),
    Mutation(
        name="a connection that no endpoint waits for is reset",
        module="ftpdata/opening/_acceptor.py",
        check="        reset_socket(sock)\n",
        instead="        sock.close()\n",
        tests="tests/opening/test_endpoint.py::test_a_peer_that_comes_after_a_reservation_sees_a_reset",
    ),
    Mutation(
        name="a socket that nobody reads is not watched",
        module="ftpdata/opening/_link.py",
        check="would call at every turn.\n        self.watch_no_more()\n",
        instead="would call at every turn.\n",
        tests="tests/opening/test_link.py::test_bytes_that_nobody_reads_take_no_turns",
    ),
    Mutation(
        name="a small upload that was reset is cut",
        module="ftpdata/transfers/receiving.py",
        check="        dtp.bypass.lost_by(lost)\n",
        instead="        pass\n",
        tests="tests/transfers/test_direct.py::test_an_upload_that_is_reset",
    ),
    Mutation(
        name="deadline of who connects",
        module="ftpdata/opening/passive.py",
        check="self._wait.until_woken(self.deadlines.open, End.ACCEPT_TIMEOUT)",
        instead="self._wait.until_woken(None, End.ACCEPT_TIMEOUT)",
        tests="tests/opening/test_passive.py::test_nobody_comes",
    ),
    Mutation(
        name="deadline of who connects to a pool",
        module="ftpdata/opening/pool.py",
        check="self._wait.until_woken(self.deadlines.open, End.ACCEPT_TIMEOUT)",
        instead="self._wait.until_woken(None, End.ACCEPT_TIMEOUT)",
        tests="tests/opening/test_pool.py::test_nobody_comes",
    ),
    Mutation(
        name="deadline of connecting",
        module="ftpdata/opening/active.py",
        check="(connecting, self.deadlines.open, End.CONNECT_TIMEOUT)",
        instead="(connecting, None, End.CONNECT_TIMEOUT)",
        tests="tests/opening/test_active.py::test_nobody_answers",
    ),
    Mutation(
        name="a sender that is idle hears of a peer that is gone",
        module="ftpdata/connection/protocol.py",
        check="            give_up(Verdict.LOST, sight, self, self._wire)\n",
        instead="            pass\n",
        tests="tests/connection/test_protocol.py"
        "::test_an_idle_producer_is_stopped_when_its_peer_is_gone",
    ),
    Mutation(
        name="who leaves the watch late takes nothing from who came",
        module="ftpdata/_hangup.py",
        check="        if self._callback_for(fd) != callback:\n            return\n",
        instead="",
        tests="tests/test_hangup.py::test_a_number_that_is_another_s_by_now_stays_its_own",
    ),
    Mutation(
        name="deadline of the end",
        module="ftpdata/connection/_loss.py",
        check="        is_stall = verdict is Verdict.STALLED\n"
        "        dtp.abort(End.STALLED if is_stall else End.CLOSE_TIMEOUT)\n",
        instead="        pass\n",
        tests="tests/connection/test_ending.py::test_finish_has_a_limit"
        " tests/connection/test_ending.py::test_finish_is_not_true_before_the_peer_has_it",
    ),
    Mutation(
        name="the peer's kernel has all before the end is clean",
        module="ftpdata/connection/_delivery.py",
        check="        if has_all or (is_answered and not outstanding):\n",
        instead="        if True:\n",
        tests="tests/connection/test_ending.py::test_finish_is_not_true_before_the_peer_has_it",
    ),
    Mutation(
        name="a transport is not closed over what nobody has read",
        module="ftpdata/connection/_ending.py",
        check="        if wire.tls is None and (wire.eof_received or not sight.unread):\n",
        instead="        if wire.tls is None:\n",
        tests="tests/connection/test_ending.py::test_a_peer_that_talks_is_not_reset",
    ),
    Mutation(
        name="a file that shrinks",
        module="ftpdata/transfers/_plain.py",
        check="        raise shrunk(transfer)\n",
        instead="        pass\n",
        tests="tests/transfers/test_transfers.py::test_a_file_that_shrinks",
    ),
    Mutation(
        name="no control characters in listings",
        module="ftpdata/listing/_names.py",
        check='_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]")',
        instead='_CONTROL = re.compile("[\\x00]")',
        tests="tests/listing/test_formats.py tests/listing/test_mlsx.py",
    ),
    Mutation(
        name="an escaped name holds no NUL when it is decoded",
        module="ftpdata/listing/_names.py",
        check='rf"\\\\(?!000)(?:',
        instead='rf"\\\\(?:',
        tests="tests/listing/test_names.py::test_escapes_that_are_decoded",
    ),
    Mutation(
        name="a backslash that would read as an escape is escaped",
        module="ftpdata/listing/_names.py",
        check='_ESCAPED = re.compile(rf"{_CONTROL.pattern}|\\\\(?={_AFTER_BACKSLASH})")',
        instead="_ESCAPED = _CONTROL",
        tests="tests/listing/test_names.py::test_policies",
    ),
    Mutation(
        name="listings: a date that can be read in two orders is none",
        module="ftpdata/listing/_dates.py",
        check="if len(found) == 1 else None",
        instead="if found else None",
        tests="tests/listing/test_os400.py::test_an_ambiguous_date_is_said_to_be_one",
    ),
    Mutation(
        name="listings: a name of OS/400 does not begin with a blank that is padding",
        module="ftpdata/listing/_os400.py",
        check='if len(match["type"]) + len(match["blanks"]) > _TYPE_COLUMN:',
        instead="if False:",
        tests="tests/listing/test_os400.py::test_what_is_not_a_line_of_os400",
    ),
    Mutation(
        name="listings: a member of z/OS without statistics needs its heading",
        module="ftpdata/listing/_mvs.py",
        check='if match is None or not (match["year"] or after_heading):',
        instead="if match is None:",
        tests="tests/listing/test_mvs.py::test_members",
    ),
    Mutation(
        name="records: data before the end of the file are the last record",
        module="ftpdata/codecs/framing.py",
        check="or (code & END_OF_FILE and self._open):",
        instead="or False:",
        tests="tests/codecs/test_framing.py::test_what_arrives",
    ),
    Mutation(
        name="records: the length of one is limited",
        module="ftpdata/codecs/framing.py",
        check="if self._most is not None and size > self._most:",
        instead="if False:",
        tests="tests/codecs/test_framing.py::test_what_a_peer_cannot_mean",
    ),
    Mutation(
        name="records: a descriptor word has a length that is possible",
        module="ftpdata/codecs/rdw.py",
        check="if control or not _WORD.size <= length <= LONGEST:",
        instead="if control:",
        tests="tests/codecs/test_rdw.py::test_a_damaged_file_is_an_error",
    ),
    Mutation(
        name="absolute links do not lead out of the served directory",
        module="ftpdata/files/beneath.py",
        check='    if target.startswith(b"/"):\n        raise _error(errno.EACCES)\n',
        instead="",
        tests="tests/server/test_disk.py",
    ),
    Mutation(
        name="which proxies may name the client, on control connections",
        module="examples/server/server.py",
        check="        if not proxies.trusts(peer):\n",
        instead="        if False:\n",
        tests="tests/server/test_proxied.py::test_connections_past_the_proxy",
    ),
    Mutation(
        name="the server reads PROXY headers of data connections",
        module="examples/server/passive.py",
        check="policy=settings.peer_policy,\n"
        "                trusted_proxies=settings.trusted_proxies,",
        instead="policy=settings.peer_policy,",
        tests="tests/server/test_proxied.py::test_client_behind_a_proxy",
    ),
    Mutation(
        name="wrong passwords in sessions that are there",
        module="examples/server/attempts.py",
        check="                if not await self._counter.take(address):\n",
        instead="                if await self._counter.take(address) >= 0:\n",
        tests="tests/server/commands/test_access.py::test_guessing_in_parallel",
    ),
    Mutation(
        name="a call of the cluster's counters has a deadline",
        module="examples/server/cluster.py",
        check="            async with asyncio.timeout(DEADLINE):\n",
        instead="            async with asyncio.timeout(50 * DEADLINE):\n",
        tests="tests/server/test_cluster.py::test_without_its_counters_a_node_counts_alone",
    ),
    Mutation(
        name="who does not answer is asked beside the sessions only",
        module="examples/server/cluster.py",
        check="(script, keys, arguments) if self._answers else None\n",
        instead="(script, keys, arguments)\n",
        tests="tests/server/test_cluster.py",
    ),
    Mutation(
        name="the server counts transfers and data connections",
        module="examples/server/commands/transfers.py",
        check="    _take_slots(session, session.operation)\n",
        instead="",
        tests="tests/server/test_passive.py::test_transfers_of_one_user",
    ),
    Mutation(
        name="a piece sent directly has no end",
        module="ftpdata/transfers/_direct.py",
        check="sent=self.sent, unsent=unsent, is_end=channel.has_announced_end",
        instead="sent=self.sent, unsent=unsent, is_end=True",
        tests="tests/transfers/test_direct.py::test_a_file_that_leaves_memory_goes_on_in_tls",
    ),
    Mutation(
        name="what the socket did not take goes before what follows",
        module="ftpdata/tls/_transport.py",
        check="            # These bytes go before anything that the protocol writes.\n"
        "            self._lower.write(unsent)\n",
        instead="            pass\n",
        tests="tests/transfers/test_direct.py::test_the_way_on_of_a_larger_file",
    ),
    Mutation(
        name="a socket is watched no more before its number is another's",
        module="ftpdata/opening/_link.py",
        check="        fd, self._watched_for_room = self._watched_for_room, None\n"
        "        if fd is not None:\n",
        instead="        if False:\n",
        tests="tests/opening/test_link.py::test_a_wait_for_room_can_be_aborted",
    ),
    Mutation(
        name="nothing is sent past what waits in the transport",
        module="ftpdata/transfers/_sendfile.py",
        check="            bypass.limit_waiting(0)\n",
        instead="",
        tests="tests/transfers/test_sendfile.py::test_a_socket_without_room",
    ),
    Mutation(
        name="little is kept for a peer that never reads",
        module="ftpdata/transfers/_sendfile.py",
        check="                    pace.bound_unsent()\n",
        instead="",
        tests="tests/transfers/test_sendfile.py::test_a_peer_that_never_reads_has_little_kept_for_it",
    ),
    Mutation(
        name="what waited when the connection was cut was not sent",
        module="ftpdata/connection/protocol.py",
        check="        if self._fate.end is None:\n            self._wire.note_sent()\n",
        instead="        self._wire.note_sent()\n",
        tests="tests/transfers/test_sendfile.py::test_what_was_sent_is_counted",
    ),
    Mutation(
        name="what is to stay of a cut upload takes no shorter way",
        module="ftpdata/transfers/receiving.py",
        check=" and not keeps_what_came\n",
        instead="\n",
        tests="tests/transfers/test_direct.py::test_what_came_of_an_upload_stays",
    ),
    Mutation(
        name="a store that takes too long does not publish",
        module="ftpdata/files/_places.py",
        check="        self._finish(is_durable=is_durable)\n        before()\n        if self",
        instead="        self._finish(is_durable=is_durable)\n        if self",
        tests="tests/files/test_target.py::test_a_commit_that_takes_too_long",
    ),
    Mutation(
        name="a name that must be new is not taken from another",
        module="ftpdata/files/_places.py",
        check="        if self._must_be_new:\n",
        instead="        if False:\n",
        tests="tests/files/test_places.py::test_a_name_that_another_has_taken",
    ),
    Mutation(
        name="parts: a file is trusted once it is locked and still has the name",
        module="ftpdata/files/_part_locks.py",
        check="            if has_name(key_of(status), name, dir_fd):\n",
        instead="            if True:\n",
        tests="tests/files/test_parts.py::test_a_part_that_is_exchanged_before_it_is_locked",
    ),
    Mutation(
        name="parts: one writer",
        module="ftpdata/files/_part_locks.py",
        check="            raise LockHeld(key_of(os.fstat(fd))) from None\n",
        instead="            return True\n",
        tests="tests/files/test_parts.py::test_another_process_that_writes",
    ),
    Mutation(
        name="parts: a file with a second name is not ours",
        module="ftpdata/files/_part_locks.py",
        check=" and status.st_nlink == 1 and is_ours",
        instead=" and is_ours",
        tests="tests/files/test_parts.py::test_what_is_planted_under_the_name_of_a_part",
    ),
    Mutation(
        name="parts: the file of another user of the system is not ours",
        module="ftpdata/files/_part_locks.py",
        check=" and status.st_nlink == 1 and is_ours",
        instead=" and status.st_nlink == 1",
        tests="tests/files/test_parts.py::test_a_part_of_another_user_of_the_system",
    ),
    Mutation(
        name="parts: nobody but the owner resumes",
        module="ftpdata/files/_part_rules.py",
        check="    return hashlib.blake2b(owner, digest_size=OWNER_SIZE).hexdigest().encode()\n",
        instead='    return b"0" * 20\n',
        tests="tests/files/test_parts.py::test_nobody_else_resumes_a_part",
    ),
    Mutation(
        name="parts: readable by nobody else until they are published",
        module="ftpdata/files/parts.py",
        check="        fd = at.open_new(path, PRIVATE)\n",
        instead="        fd = at.open_new(path, 0o666)\n",
        tests="tests/files/test_parts.py::test_the_permissions_of_a_part",
    ),
    Mutation(
        name="parts: never beyond what came",
        module="ftpdata/files/_part_rules.py",
        check="    if offset > part.size:\n",
        instead="    if False:\n",
        tests="tests/files/test_parts.py::test_beyond_the_part",
    ),
    Mutation(
        name="parts: what is older than the file is not gone on with",
        module="ftpdata/files/_part_rules.py",
        check="    return part.modified_ns < changed_ns or (",
        instead="    return False and (",
        tests="tests/files/test_parts.py::test_a_part_that_is_older_than_the_file_goes",
    ),
    Mutation(
        name="parts: a newer upload makes the older part void",
        module="ftpdata/files/parts.py",
        check="                self._make_void(at, part, held.key)\n",
        instead="",
        tests="tests/files/test_parts.py::test_two_uploads_of_one_name_by_one_owner",
    ),
    Mutation(
        name="parts: a takeover that finds a whole file writes nothing into it",
        module="ftpdata/files/target.py",
        check="                part_only=self.part_only or is_taken_over,\n",
        instead="                part_only=self.part_only,\n",
        tests="tests/files/test_parts.py::test_an_upload_that_is_published_meanwhile",
    ),
    Mutation(
        name="parts: the lock is held until the file has its name",
        module="ftpdata/files/_part_place.py",
        check="                held = os.dup(self.fd)\n",
        instead="                held = os.open(os.devnull, os.O_RDONLY)\n",
        tests="tests/files/test_parts.py::test_the_order_of_a_durable_upload",
    ),
    Mutation(
        name="parts: the limit of a size counts what came before",
        module="ftpdata/transfers/_sizes.py",
        check="max(0, limit - came_before)",
        instead="limit",
        tests="tests/transfers/test_resumption.py::test_the_limit_counts_what_came_before",
    ),
    Mutation(
        name="parts: what was refused leaves nothing",
        module="ftpdata/transfers/_cuts.py",
        check="    return fell_short or failure.end not in _REFUSALS\n",
        instead="    return True\n",
        tests="tests/transfers/test_resumption.py::test_what_the_host_refuses",
    ),
    Mutation(
        name="parts: what was received before a reset is written",
        module="ftpdata/transfers/receiving.py",
        check="                await keeping.write(data)\n",
        instead="                pass\n",
        tests="tests/transfers/test_resumption.py::test_what_is_reset_at_once_is_kept",
    ),
    Mutation(
        name="parts: a target stands where the upload goes on",
        module="ftpdata/transfers/_door.py",
        check="    if position != offset and not isinstance(target, FileTarget):\n",
        instead="    if False:\n",
        tests="tests/transfers/test_resumption.py::test_targets_of_others",
    ),
    Mutation(
        name="server: names of parts are refused",
        module="examples/server/session.py",
        check="    if has_reserved_name(path):\n",
        instead="    if False:\n",
        tests="tests/server/test_resumption.py::test_names_of_parts_are_reserved",
    ),
    Mutation(
        name="server: names of parts are in no listing",
        module="ftpdata/files/directory_reader.py",
        check=" or not is_reserved(e.name)]\n",
        instead=" or True]\n",
        tests="tests/server/test_resumption.py::test_names_of_parts_are_reserved",
    ),
    Mutation(
        name="server: who is anonymous owns nothing",
        module="examples/server/session.py",
        check="        if user is None or user.is_anonymous or self.settings",
        instead="        if user is None or self.settings",
        tests="tests/server/test_resumption.py::test_nobody_else_learns_of_a_part",
    ),
    Mutation(
        name="server: APPE without SIZE is no resumption",
        module="examples/server/commands/transfers.py",
        check="    if not told:\n",
        instead="    if False:\n",
        tests="tests/server/test_resumption.py::test_appe_after_size",
    ),
    Mutation(
        name="server: APPE goes on with the part that was told, or not at all",
        module="examples/server/commands/transfers.py",
        check="restart=Restart(told), part_only=True\n",
        instead="restart=Restart(told)\n",
        tests="tests/server/test_resumption.py"
        "::test_a_part_that_is_gone_since_its_size_was_replied",
    ),
    Mutation(
        name="server: STOR goes on with the part that was told, or not at all",
        module="examples/server/commands/transfers.py",
        check="    part_only = session.told_sizes.pop(path, None) is not None\n",
        instead="    part_only = False\n",
        tests="tests/server/test_resumption.py"
        "::test_a_part_that_is_gone_since_its_size_was_replied",
    ),
    Mutation(
        name="server: a size that was told belongs to one login",
        module="examples/server/session.py",
        check="        self.told_sizes.clear()\n",
        instead="",
        tests="tests/server/test_resumption.py::test_nobody_else_learns_of_a_part",
    ),
    Mutation(
        name="appending goes to the end, wherever that is",
        module="ftpdata/files/_places.py",
        check="return os.O_APPEND if self._appends else 0",
        instead="return 0",
        tests="tests/files/test_places.py::test_many_append_to_one_file",
    ),
    Mutation(
        name="nothing is emptied before there are bytes for it",
        module="ftpdata/files/_places.py",
        check="        elif self.position:\n            os.lseek",
        instead="        else:\n            os.ftruncate(fd, 0)\n            os.lseek",
        tests="tests/files/test_places.py::test_an_upload_of_which_nothing_came_changes_nothing",
    ),
    Mutation(
        name="only files and pipes are sent",
        module="ftpdata/files/source.py",
        check="        require_file(status)\n",
        instead="",
        tests="tests/files/test_source.py::test_what_is_neither_a_file_nor_a_pipe",
    ),
    Mutation(
        name="a pipe without a writer is no empty file",
        module="ftpdata/files/_pipe.py",
        check="                if not self._first:\n",
        instead="                if False:\n",
        tests="tests/files/test_source.py::test_a_named_pipe_without_a_writer",
    ),
    Mutation(
        name="a file that is made for its reader has no size",
        module="ftpdata/files/source.py",
        check="    if not store.has_sizes:\n        return None\n",
        instead="",
        tests="tests/files/test_source.py::test_files_that_are_made_for_their_reader",
    ),
    Mutation(
        name="nobody may open a file before it has its permissions",
        module="ftpdata/files/_places.py",
        check="self._permissions if replaced is None else PRIVATE",
        instead="self._permissions",
        tests="tests/files/test_attributes.py::test_nobody_may_open_it_before",
    ),
    Mutation(
        name="a group that is not kept is not let in",
        module="ftpdata/files/_attributes.py",
        check="        if not is_group_kept:\n",
        instead="        if False:\n",
        tests="tests/files/test_attributes.py::test_a_group_that_cannot_be_kept",
    ),
    Mutation(
        name="an access list that a directory gives is taken back",
        module="ftpdata/files/_attributes.py",
        check="            os.removexattr(fd, _ACCESS_LIST)\n",
        instead="            pass\n",
        tests="tests/files/test_attributes.py::test_a_list_that_the_directory_would_give",
    ),
    Mutation(
        name="what insists on being atomic is not copied in",
        module="ftpdata/files/_finding.py",
        check="        if atomic_only:\n",
        instead="        if False:\n",
        tests="tests/files/test_places.py::test_a_host_that_insists_on_whole_files",
    ),
    Mutation(
        name="a full disk spoils no file that is copied into",
        module="ftpdata/files/_places.py",
        check="        reserve(fd, 0, size)\n",
        instead="",
        tests="tests/files/test_places.py::test_a_full_disk_changes_nothing",
    ),
    Mutation(
        name="a file that is gone is not one that may not be written",
        module="ftpdata/files/_location.py",
        check="            if again is not None and key_of(again) == key_of(status):\n",
        instead="            if True:\n",
        tests="tests/files/test_location.py::test_a_file_that_is_taken_away_while_it_is_looked_at",
    ),
    Mutation(
        name="only regular files are written",
        module="ftpdata/files/_location.py",
        check="            require_file(status)\n",
        instead="",
        tests="tests/files/test_target.py::test_only_regular_files_are_written",
    ),
    Mutation(
        name="a file that is opened in vain is given up",
        module="ftpdata/transfers/_pending.py",
        check="            await give_up(self._task)\n",
        instead="            pass\n",
        tests="tests/transfers/test_pending.py::test_nothing_is_opened_for_a_caller_that_has_gone",
    ),
    Mutation(
        name="a file that was opened by its name is closed",
        module="ftpdata/transfers/sending.py",
        check="            if pending.file is not None:\n                pending.file.close()\n",
        instead="",
        tests="tests/transfers/test_direct.py::test_a_file_of_which_nobody_says_how_long_it_is",
    ),
    Mutation(
        name="an upload that was opened by its name is discarded",
        module="ftpdata/transfers/receiving.py",
        check="            await _let_go(pending.file, error, deadlines.close, "
        "is_cut=is_cut, early=early)\n",
        instead="            pass\n",
        tests="tests/transfers/test_transfers.py::test_an_upload_that_is_reset_in_the_middle",
    ),
    Mutation(
        name="threads that are at work end with the event loop",
        module="ftpdata/files/_threads.py",
        check="            if self._is_closed and self._withdraw(inbox):\n",
        instead="            if False:\n",
        tests="tests/files/test_threads.py::test_threads_end_with_the_event_loop",
    ),
    Mutation(
        name="threads that give up in the moment of a job",
        module="ftpdata/files/_threads.py",
        check="                if self._withdraw(inbox) or is_over:\n",
        instead="                if self._withdraw(inbox) or True:\n",
        tests="tests/files/test_threads.py::test_a_thread_that_gives_up_too_late_gets_the_job",
        patience=60.0,
    ),
    Mutation(
        name="a job that fails is reported",
        module="ftpdata/files/_threads.py",
        check="            try:\n"
        "                job.work()\n"
        "                self._idle.append(inbox)\n"
        "            finally:\n",
        instead="            if job.work() is None:\n                self._idle.append(inbox)\n",
        tests="tests/files/test_threads.py::test_the_end_of_a_job_that_fails_is_reported",
        patience=60.0,
    ),
    Mutation(
        name="time to log in",
        module="examples/server/session.py",
        check="                if patience <= 0:\n",
        instead="                if False:\n",
        tests="tests/server/commands/test_access.py::test_the_time_to_log_in_does_not_wait_for_silence",
    ),
    Mutation(
        name="TLS ends with REIN",
        module="examples/server/commands/access.py",
        check="    if session.speaks_tls and not session.settings.implicit_tls:\n",
        instead="    if False:\n",
        tests="tests/server/test_tls.py::test_reinitialize_ends_tls",
    ),
    Mutation(
        name="without descriptors the server rests",
        module="examples/server/server.py",
        check="                    await anyio.sleep(ACCEPT_RETRY)\n",
        instead="                    await anyio.sleep(0)\n",
        tests="tests/server/test_starved.py",
    ),
    Mutation(
        name="few refused connections are logged",
        module="ftpdata/opening/_acceptor.py",
        check="        if not self._notes:\n            return\n",
        instead="",
        tests="tests/opening/test_acceptor.py::test_many_strangers_do_not_fill_the_log",
    ),
    Mutation(
        name="modes: REST only where it says which byte is meant",
        module="examples/server/commands/transfers.py",
        check="if restart.offset and not can_restart(session.choices.parameters):",
        instead="if False:",
        tests="tests/server/commands/test_transfers.py::test_restart_is_for_binary_types",
    ),
    Mutation(
        name="modes: RANG says how much is to come",
        module="examples/server/commands/transfers.py",
        check="expected_size=None if restart.end is None else restart.end - restart.offset,",
        instead="expected_size=None,",
        tests="tests/server/commands/test_transfers.py::test_range_of_an_upload",
    ),
    Mutation(
        name="modes: a 110 reply promises only what stays",
        module="examples/server/commands/transfers.py",
        check="        on_marker=acknowledge if stays else None,\n",
        instead="        on_marker=acknowledge,\n",
        tests="tests/server/test_modes.py::test_what_is_not_kept_is_not_acknowledged",
    ),
    Mutation(
        name="modes: a part without a byte is none",
        module="ftpdata/files/_part_place.py",
        check=" or not os.fstat(fd).st_size:\n",
        instead=":\n",
        tests="tests/files/test_parts.py::test_an_upload_of_which_nothing_came",
    ),
    Mutation(
        name="modes: a connection that is kept ends with PROT and PASV",
        module="examples/server/transfer.py",
        check="                closing.push_async_callback(_finish, kept)\n",
        instead="                self._kept = kept\n",
        tests="tests/server/test_modes.py::test_end_of_a_connection_that_was_kept"
        " tests/server/test_modes.py"
        "::test_connection_in_clear_is_not_kept_for_one_that_is_protected",
    ),
    Mutation(
        name="modes: no piece for each byte that is marked as suspect",
        module="ftpdata/codecs/_decoding.py",
        check="        if self.on_suspect is not None:\n",
        instead="        if True:\n",
        tests="tests/codecs/test_decoding.py::test_data_are_cut_only_where_somebody_asks",
    ),
    Mutation(
        name="modes: SIZE does not count a large file",
        module="examples/server/commands/files.py",
        check="if file.size > MAX_COUNTED:",
        instead="if False:",
        tests="tests/server/commands/test_files.py",
    ),
    Mutation(
        name="an aborted transfer is not announced",
        module="examples/server/transfer.py",
        check="        if operation.reason:\n",
        instead="        if False:\n",
        tests="tests/server/test_transfer.py::test_abor_while_a_thread_opens_the_file",
    ),
    Mutation(
        name="what was answered is not aborted",
        module="examples/server/session.py",
        check="            if self._scope.cancel_called:\n",
        instead="            if False:\n",
        tests="tests/server/test_transfer.py::test_abor_of_what_has_failed_already",
    ),
    Mutation(
        name="replies that nobody reads",
        module="examples/server/session.py",
        check=" and not self._control.is_full:",
        instead=":",
        tests="tests/server/test_session.py::test_replies_that_nobody_reads_are_bounded",
    ),
    Mutation(
        name="minimal server: no step of a path follows a link",
        module="ftpdata/files/beneath.py",
        check="    if not follow:\n",
        instead="    if False:\n",
        tests="tests/test_examples.py::test_no_path_leaves_the_directory_of_the_minimal_server",
    ),
    Mutation(
        name="minimal server: nothing is said between AUTH and TLS",
        module="examples/minimal_server.py",
        check="        if self.lines.buffer:\n",
        instead="        if False:\n",
        tests="tests/test_examples.py"
        "::test_nothing_is_said_to_the_minimal_server_between_auth_and_tls",
    ),
    Mutation(
        name="minimal server: no password in clear where there is a certificate",
        module="examples/minimal_server.py",
        check="        if self.options.certificate and self.tls is None:\n",
        instead="        if False:\n",
        tests="tests/test_examples.py::test_who_may_log_in_to_the_minimal_server",
    ),
    Mutation(
        name="mirror: no name leads out of the local directory",
        module="examples/client/plan.py",
        check="        if not entry.is_plain_name:\n",
        instead="        if False:\n",
        tests="tests/client/test_plan.py",
    ),
    Mutation(
        name="minimal server: one listener for a session",
        module="examples/minimal_server.py",
        check="                await self.aclose()\n",
        instead="",
        tests="tests/test_examples.py::test_the_minimal_server_has_one_listener_for_a_session",
    ),
    Mutation(
        name="no descriptors is not no such file",
        module="examples/server/store.py",
        check="    return errno_of(error) in _ABOUT_NAMES\n",
        instead="    return True\n",
        tests="tests/server/test_starved.py::test_nothing_false_is_said_without_descriptors",
    ),
    Mutation(
        name="what TLS says of a certificate is not about a name",
        module="examples/server/store.py",
        check="    return errno_of(error) in",
        instead="    return error.errno in",
        tests="tests/server/test_store.py::test_what_an_error_is_about",
    ),
    Mutation(
        name="a number that is no errno",
        module="ftpdata/errors.py",
        check="    if not _OTHER_NUMBERS.isdisjoint(",
        instead="    if False and not _OTHER_NUMBERS.isdisjoint(",
        tests="tests/test_errors.py::test_a_number_that_is_not_an_errno_says_nothing",
    ),
    Mutation(
        name="a file is sent as long as it was announced",
        module="examples/server/commands/transfers.py",
        check="        expected_size=end - offset,\n",
        instead="",
        tests="tests/server/test_transfer.py::test_a_file_that_became_shorter_is_not_complete",
    ),
    Mutation(
        name="an upload outlives its control connection",
        module="examples/server/session.py",
        check="        return not self.settings.cut_with_control\n",
        instead="        return False\n",
        tests="tests/server/test_leavers.py",
    ),
    Mutation(
        name="to the letter, an upload is cut with its control connection",
        module="examples/server/session.py",
        check="        return not self.settings.cut_with_control\n",
        instead="        return True\n",
        tests="tests/server/test_leavers.py"
        "::test_to_the_letter_an_upload_is_cut_with_its_control_connection",
    ),
    Mutation(
        name="to the letter, what has come counts",
        module="examples/server/session.py",
        check="self._lets_uploads_end or operation.has_all",
        instead="self._lets_uploads_end",
        tests="tests/server/test_leavers.py::test_to_the_letter_it_counts_what_has_come",
    ),
    Mutation(
        name="commands that came before a reset",
        module="examples/server/control.py",
        check="        if exc is not None:\n            self._hear_rest()\n",
        instead="",
        tests="tests/server/test_leavers.py::test_a_reset_does_not_take_commands_along",
    ),
    Mutation(
        name="an error of the host is not sent",
        module="examples/server/failures.py",
        check="    return Reply.parse(as_failure(error).reply)\n",
        instead="    failure = as_failure(error)\n"
        "    return Reply(failure.reply_code, failure.message)\n",
        tests="tests/server/test_transfer.py::test_what_the_host_raises_stays_in_the_log",
    ),
    Mutation(
        name="contracts: a coroutine that nobody would await is refused",
        module="ftpdata/contracts.py",
        check="        if inspect.iscoroutinefunction(method):\n",
        instead="        if False:\n",
        tests="tests/test_contracts.py::test_a_coroutine_is_refused",
    ),
    Mutation(
        name="contracts: a consumer is looked at when it is registered",
        module="ftpdata/connection/protocol.py",
        check="        require_consumer(consumer)\n",
        instead="",
        tests="tests/connection/test_consumer.py"
        "::test_what_lacks_a_method_of_a_consumer_is_refused",
    ),
    Mutation(
        name="contracts: a producer is looked at when it is registered",
        module="ftpdata/connection/protocol.py",
        check="        require_producer(producer, streaming=streaming)\n",
        instead="",
        tests="tests/connection/test_producer.py"
        "::test_what_lacks_a_method_of_a_producer_is_refused",
    ),
    Mutation(
        name="producers: a source is closed although nothing was asked of it",
        module="ftpdata/connection/_producer.py",
        check="if task is not None and self._has_begun and task",
        instead="if task is not None and task",
        tests="tests/connection/test_iterable_producers.py::test_a_source_is_closed_in_every_case",
    ),
    Mutation(
        name="producers: a source is closed although the producer is refused",
        module="ftpdata/connection/_producer.py",
        check="            if is_first:\n",
        instead="            if is_first and not self._stopped:\n",
        tests="tests/connection/test_iterable_producers.py::test_a_source_is_closed_in_every_case",
    ),
    Mutation(
        name="names: a pattern says where its names are",
        module="examples/server/listings.py",
        check="            if not formatter.needs_status:\n",
        instead="            if False:\n",
        tests="tests/server/test_names.py::test_names_of_a_pattern_say_where_they_are",
    ),
    Mutation(
        name="names: options come before names",
        module="examples/server/listings.py",
        check="    while option := _options.match(argument):\n",
        instead="    while False and (option := _options.match(argument)):\n",
        tests="tests/server/test_names.py::test_options_are_options",
    ),
    Mutation(
        name="names: the whole name comes before a range",
        module="examples/server/commands/files.py",
        check="            if await exists(session.store, path):\n",
        instead="            if numbers and await exists(session.store, path):\n",
        tests="tests/server/test_names.py::test_the_whole_name_comes_before_a_range",
    ),
    Mutation(
        name="names: the literal name comes first",
        module="examples/server/store.py",
        check='        if await exists(store, join(directory, "/".join([*before, part]))):\n'
        "            continue\n",
        instead="",
        tests="tests/server/test_names.py::test_the_literal_name_comes_first",
    ),
    Mutation(
        name="names: facts that begin with a blank are no name",
        module="ftpdata/listing/mlsx.py",
        check="        if _FACTS_AHEAD.match(name):\n",
        instead="        if False:\n",
        tests="tests/listing/test_mlsx.py::test_what_is_not_a_line",
    ),
    Mutation(
        name="listings: a link whose target cannot be had is no link without one",
        module="ftpdata/files/directory_reader.py",
        check="            if error.errno not in _ABOUT_THE_NAME:\n",
        instead="            if False:\n",
        tests="tests/files/test_directories.py::test_a_link_that_cannot_be_read",
    ),
    Mutation(
        name="transfers: a file that is bad ends the wait for its peer",
        module="ftpdata/transfers/_opened.py",
        check="            self._pending.on_failure = self._endpoint.abort\n",
        instead="        pass\n",
        tests="tests/transfers/test_opened.py::test_a_file_that_is_not_there_waits_for_nobody",
    ),
    Mutation(
        name="transfers: a stream that does not begin closes its generator",
        module="ftpdata/transfers/sending.py",
        check="    async with closing_generator(chunks):\n",
        instead="    if True:\n",
        tests="tests/transfers/test_opened.py"
        "::test_a_generator_is_closed_where_the_connection_does_not_open",
    ),
    Mutation(
        name="transfers: a number that is negative is refused",
        module="ftpdata/transfers/_door.py",
        check="    if value < 0:\n        raise error_for_peer(BadArgument, f\"expected {name}",
        instead="    if False:\n        raise error_for_peer(BadArgument, f\"expected {name}",
        tests="tests/transfers/test_door.py::test_what_cannot_be_meant_is_refused",
    ),
    Mutation(
        name="transfers: a file of another size than promised ends the wait, too",
        module="ftpdata/transfers/sending.py",
        check="            check_promise(expected_size, total_of(source, length))\n",
        instead="            pass\n",
        tests="tests/transfers/test_opened.py"
        "::test_a_file_of_another_size_than_promised_waits_for_nobody",
    ),
    Mutation(
        name="transfers: a descriptor that is not open is refused",
        module="ftpdata/transfers/_door.py",
        check="        os.get_inheritable(fd)\n",
        instead="        pass\n",
        tests="tests/transfers/test_door.py::test_what_cannot_be_meant_is_refused",
    ),
    Mutation(
        name="transfers: a failure is logged",
        module="ftpdata/transfers/_report.py",
        check="                log_end(failure.result, failure, transfer=self)\n",
        instead="                pass\n",
        tests="tests/transfers/test_report.py::test_a_failure_is_logged_once",
    ),
    Mutation(
        name="observers: an upload that is whole is judged before it is published",
        module="ftpdata/transfers/receiving.py",
        check="                await judge(report, pending.file)\n",
        instead="                pass\n",
        tests="tests/observers/test_veto.py::test_a_veto_leaves_the_old_file_and_nothing_else",
    ),
    Mutation(
        name="observers: so is a small one that has come at once",
        module="ftpdata/transfers/receiving.py",
        check="            await judge(report, file)\n",
        instead="            pass\n",
        tests="tests/observers/test_veto.py::test_a_veto_leaves_the_old_file_and_nothing_else",
    ),
    Mutation(
        name="observers: an upload that everybody sees cannot be vetoed",
        module="ftpdata/transfers/_judging.py",
        check="    if not is_path and not is_hidden:\n",
        instead="    if False:\n",
        tests=(
            "tests/observers/test_veto.py"
            "::test_uploads_that_everybody_sees_are_refused_at_the_call"
        ),
    ),
    Mutation(
        name="observers: who fails to decide lets nothing pass",
        module="ftpdata/transfers/_judging.py",
        check='        raise LocalError(f"the observer {why}", end=End.VETOED) from error\n',
        instead="        return\n",
        tests="tests/observers/test_veto.py::test_an_observer_that_fails_to_decide_keeps_the_upload_hidden",
    ),
    Mutation(
        name="observers: what is vetoed leaves no part",
        module="ftpdata/transfers/_cuts.py",
        check="    End.VETOED,\n",
        instead="",
        tests="tests/observers/test_veto.py::test_a_veto_leaves_no_part",
    ),
    Mutation(
        name="observers: one that fails changes no transfer",
        module="ftpdata/observers/_telling.py",
        check="        note_failure(observer, event, error)\n",
        instead="        raise\n",
        tests=(
            "tests/observers/test_events.py"
            "::test_an_observer_that_fails_changes_nothing_and_is_logged_once"
        ),
    ),
    Mutation(
        name="descriptors: one whose close has failed is closed once",
        module="ftpdata/_descriptors.py",
        check="            with contextlib.suppress(OSError):\n                os.close(fd)\n",
        instead="            try:\n                os.close(fd)\n"
        "            except OSError:\n                os.close(fd)\n",
        tests="tests/files/test_target.py::test_every_system_call_of_an_upload_may_fail",
    ),
    Mutation(
        name="an upload of the server is not seen before it is whole",
        module="examples/server/commands/transfers.py",
        check="        mode = WriteMode.ATOMIC\n",
        instead="        mode = WriteMode.IN_PLACE\n",
        tests="tests/server/test_concurrent.py",
    ),
)


def survivors(mutations: tuple[Mutation, ...]) -> list[str]:
    """Try each mutation; return the names of those that no test noticed."""

    found = []
    for mutation in mutations:
        verdict, shown = verdict_on(mutation)
        sys.stdout.write(f"{verdict:8} {mutation.name}\n         {shown}\n")
        sys.stdout.flush()
        if verdict != NOTICED:
            found.append(mutation.name)

    return found


def verdict_on(mutation: Mutation) -> tuple[str, str]:
    """Try a mutation; return the verdict, and the output that shows it."""

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for part in COPIED:
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", root)
        mutation.apply(root)
        command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        # A wait whose deadline is deleted must not last to its end.
        command.append("--timeout=30")
        with subprocess.Popen(
            [*command, *mutation.tests.split()],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as tests:
            try:
                output, _ = tests.communicate(timeout=mutation.patience)
            except subprocess.TimeoutExpired:
                # asyncio swallows what a test's own timeout raises in a callback.
                os.killpg(tests.pid, signal.SIGKILL)
                return HUNG, f"no result within {mutation.patience:g} s: {mutation.tests[:80]}"

    # What a test has left behind is an error at its end.
    failed = [line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if tests.returncode == TESTS_FAILED and failed:
        return NOTICED, failed[0][:100]

    return SURVIVED, output[-400:]


def main(words: list[str]) -> int:
    """Try the mutations whose names contain one of the words, or all of them."""

    chosen = tuple(m for m in MUTATIONS if not words or any(word in m.name for word in words))
    return 1 if survivors(chosen) or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
