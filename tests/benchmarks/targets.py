"""Bounce attempts: generated PORT and EPRT arguments, and the connects they cause (RFC 2577 §3).

``python -m tests.benchmarks.targets [ARGUMENTS [SEED]]``. Each argument is
parsed, judged by a policy, and opened if the policy allows it, with a socket
that records its connects. This module decides the right outcome a second time,
in another way: addresses by the C library, special ranges by ranges of numbers.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from ftpdata.addresses import HostPort, PeerPolicy, parse_eprt, parse_port
from ftpdata.errors import BadAddress, DataConnectionError, PeerRejected, UnsupportedNetworkProtocol
from ftpdata.opening.active import connect_active
from tests.benchmarks.figures import Figures

__all__ = ["Outcome", "attempts", "main"]


@attrs.define
class Outcome:
    """What became of the arguments.

    Attributes:
        arguments: How many there were.
        parsed: That were understood.
        permitted: That a policy let pass.
        connects: Connects that were tried.
        foreign: Connects to an address that the policy does not know.
        privileged: Connects to a port below 1024.
        misread: Arguments that were understood otherwise than they are meant, or
            refused although they are right.
        misjudged: Targets that were let pass or refused wrongly.
        examples: Some of what went wrong.
    """

    arguments: int = 0
    parsed: int = 0
    permitted: int = 0
    connects: int = 0
    foreign: int = 0
    privileged: int = 0
    misread: int = 0
    misjudged: int = 0
    examples: list[str] = attrs.field(factory=list)


# What is meant, decided in another way

Target = tuple[bytes, int]
"""Packed address, and port. An IPv4 address that is mapped into IPv6 has four bytes."""

_MAPPED = bytes(10) + b"\xff\xff"
_DECIMAL = frozenset("0123456789")
_LONGEST_NUMBER = 8 + 5  # zeros, and digits


def _packed(host: str) -> bytes | None:
    if "\0" in host:
        # PyPy would end it there.
        return None

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            packed = socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue

        return packed[12:] if packed.startswith(_MAPPED) else packed

    return None


def _number(text: str, highest: int) -> int | None:
    """Read decimal digits, with leading zeros and blanks around them; None if it is not one."""

    text = text.strip(" ")
    if not text or set(text) - _DECIMAL or len(text) > _LONGEST_NUMBER:
        return None

    return int(text) if int(text) <= highest else None


def meant_by_port(argument: str) -> Target | None:
    """Read the argument of PORT; None if it is not valid."""

    numbers = [_number(text, 255) for text in argument.split(",")]
    if len(numbers) != 6 or None in numbers:
        return None

    octets = bytes(number for number in numbers if number is not None)
    port = octets[4] * 256 + octets[5]
    return (octets[:4], port) if port else None


def meant_by_eprt(argument: str) -> Target | None:
    """Read the argument of EPRT; None if it is not valid."""

    argument = argument.strip(" ")
    found = re.fullmatch(r"([!-~])(?:(?!\1).)*\1(?:(?!\1).)*\1(?:(?!\1).)*\1", argument, re.DOTALL)
    if found is None:
        return None

    _, family, host, number, _ = argument.split(argument[0])
    port = _number(number, 65535)
    family_of_host = socket.AF_INET6 if ":" in host else socket.AF_INET
    wanted = {1: socket.AF_INET, 2: socket.AF_INET6}.get(_number(family, 2) or 0)
    packed = _packed(host.strip(" "))
    if wanted is not family_of_host or packed is None or not port:
        return None

    return packed, port


def _within(*networks: str) -> Callable[[bytes], bool]:
    ranges = []
    for network in networks:
        host, _, length = network.partition("/")
        packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
        ranges.append((packed, int(length)))

    def is_within(packed: bytes) -> bool:
        return any(len(packed) == len(start) and _share(packed, start, length)
                   for start, length in ranges)

    return is_within


def _share(one: bytes, other: bytes, bits: int) -> bool:
    differing = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return not differing >> len(one) * 8 - bits


_never = _within("0.0.0.0/8", "::/128", "224.0.0.0/4", "ff00::/8", "255.255.255.255/32")
_loopback = _within("127.0.0.0/8", "::1/128")
_private = _within(
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"
)
_only_itself = _within(
    "169.254.0.0/16", "fe80::/10", "192.0.0.0/24", "240.0.0.0/4", "::/8"
)


@attrs.frozen
class Rule:
    """A policy, and what it means."""

    name: str
    policy: PeerPolicy
    knows: Callable[[bytes, bytes], bool]
    """Whether a target's address is one that the policy accepts for a control peer's."""
    names: Callable[[bytes], bool] = lambda _: False
    """Whether it opens the special range of an address by naming it."""

    def permits(self, target: Target, control: bytes) -> bool:
        """Whether this target may be connected to."""

        packed, port = target
        if port < 1024 or _never(packed) or not self.knows(packed, control):
            return False

        if self.names(packed):
            return True

        for special in (_loopback, _private):
            if special(packed):
                return special(control)

        return packed == control or not _only_itself(packed)


def _near(packed: bytes, control: bytes) -> bool:
    return len(packed) == len(control) and _share(packed, control, 24 if len(packed) == 4 else 64)


_SITES = ("198.51.100.0/24", "2001:db8:5::/48", "10.1.0.0/16")
_sites = _within(*_SITES)

RULES = (
    Rule("exact", PeerPolicy.exact(), lambda packed, control: packed == control),
    Rule("same network", PeerPolicy.same_network(), _near),
    Rule(
        "allow list",
        PeerPolicy.allow(_SITES),
        lambda packed, control: packed == control or _sites(packed),
        _within("10.1.0.0/16"),
    ),
    Rule("any", PeerPolicy.any(), lambda packed, control: True),
)

CONTROL = (
    *("192.0.2.1", "198.51.100.7", "127.0.0.1", "10.0.0.1", "10.1.2.3", "169.254.7.7"),
    *("::ffff:192.0.2.1", "2001:db8::1", "2001:db8:5::9", "::1", "fd00::1", "fe80::1"),
)


# Arguments

SPECIAL = (
    *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "10.0.0.1", "10.1.2.3", "172.16.0.1"),
    *("192.168.1.1", "100.64.0.1", "169.254.169.254", "192.0.0.8", "224.0.0.1", "239.9.9.9"),
    *("240.0.0.1", "255.255.255.255", "::", "::1", "::2", "::127.0.0.1", "::ffff:127.0.0.1"),
    *("::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "fe80::1", "febf::1", "fec0::1", "fc00::1"),
    *("fd00::1", "ff02::1", "2002:7f00:1::", "2001:db8::1", "::ffff:10.1.2.3"),
)
PORTS = (
    *("0", "1", "21", "25", "80", "1023", "1024", "1025", "2121", "6000", "65535"),
    *("65536", "66560", "-1", "+2121", " 2121", "2121 ", "02121", "2_121", "0x849", "2121.0"),
    *("4294969417", "18446744073709553737", "9" * 400, "", "２１２１", "٢١٢١", "²¹²¹", "2121\0"),
)
ODD_OCTETS = (
    *("256", "0177", "00", "01", "0x7f", "-1", "+1", "1_0", " 1", "1 ", "", "1e1", "１", "٣", "²"),
    *("4294967295", "9" * 300, "127\0", "①", "1\n", "\r\n1"),
)
JUNK = (*"|,.:()!%+-_ \r\n\0/", "％", "::", "%1", "%eth0", "1", "255", "99999", "\u2024", "\uff0e")


def arguments(random_: random.Random, control: str) -> Iterator[tuple[str, str]]:
    """Yield a verb and an argument, for ever; in many of them, the client's own address."""

    makers: tuple[Callable[[random.Random, str], tuple[str, str]], ...] = (
        _right_port, _right_eprt, _odd_port, _odd_eprt, _mutated,
    )
    while True:
        yield random_.choice(makers)(random_, control)


def _address(random_: random.Random, control: str, family: int) -> str:
    """Choose an address: the client's, one beside it, a special one, or any; in any spelling."""

    choice = random_.random()
    if choice < 0.35:
        host = control
    elif choice < 0.6:
        host = random_.choice(SPECIAL)
    elif choice < 0.7:
        host = random_.choice(CONTROL)
    else:
        host = socket.inet_ntop(
            *((socket.AF_INET, random_.randbytes(4)) if family == 1
              else (socket.AF_INET6, random_.randbytes(16)))
        )

    packed = _packed(host)
    assert packed is not None
    if choice > 0.9 or (0.3 < choice < 0.35):
        # One bit beside it.
        wrong = random_.randrange(len(packed) * 8)
        flipped = int.from_bytes(packed, "big") ^ 1 << wrong
        packed = flipped.to_bytes(len(packed), "big")
    if family == 1:
        return socket.inet_ntop(socket.AF_INET, packed[-4:])

    packed = packed if len(packed) == 16 else _MAPPED + packed
    groups = [f"{packed[i] << 8 | packed[i + 1]:x}" for i in range(0, 16, 2)]
    spellings = (
        socket.inet_ntop(socket.AF_INET6, packed),
        ":".join(groups),
        ":".join(group.rjust(4, "0").upper() for group in groups),
        ":".join((*groups[:6], ".".join(map(str, packed[12:])))),
    )
    return random_.choice(spellings)


def _port_number(random_: random.Random) -> int:
    return random_.choice((random_.randrange(1200), random_.randrange(65536), 2121))


def _right_port(random_: random.Random, control: str) -> tuple[str, str]:
    octets = _address(random_, control, 1).split(".")
    port = _port_number(random_)
    return "PORT", ",".join((*octets, str(port >> 8), str(port & 255)))


def _right_eprt(random_: random.Random, control: str) -> tuple[str, str]:
    family = random_.choice((1, 2))
    host = _address(random_, control, family)
    delimiter = random_.choice("|||!,/#-0123456789abcdef.:~")
    return "EPRT", delimiter.join(("", str(family), host, str(_port_number(random_)), ""))


def _odd_port(random_: random.Random, control: str) -> tuple[str, str]:
    words = _right_port(random_, control)[1].split(",")
    for _ in range(random_.randrange(1, 3)):
        words[random_.randrange(6)] = random_.choice(ODD_OCTETS)
    if random_.random() < 0.3:
        words = random_.choice((words[:-1], [*words, "1"], words[::-1], [*words, ""]))

    return "PORT", random_.choice((",", ",", ",", ", ", ".", "，")).join(words)


def _odd_eprt(random_: random.Random, control: str) -> tuple[str, str]:
    family = random_.choice(("1", "2", "0", "3", "01", "１", "", "-1", "+1", "2 ", "99999"))
    host = _address(random_, control, random_.choice((1, 2)))
    host = random_.choice((
        host,
        host + random_.choice(("%1", "%eth0", "%", " ", "\0", "/32", "\n")),
        random_.choice(("[%s]", " %s", "::ffff:%s", "0%s", "0x%s", "%s.", "%s:")) % host,
        str(random_.randrange(1 << 33)),
        "127.1", "0177.0.0.1", "0x7f000001", "2130706433", "localhost", "１２７.0.0.1", "",
    ))
    port = random_.choice((*PORTS, str(_port_number(random_))))
    delimiter = random_.choice("||||! \t~")
    fields = ["", family, host, port, ""]
    if random_.random() < 0.1:
        fields = random_.choice((fields[:-1], [*fields, ""], fields[1:], [*fields[:-1], "x"]))

    return "EPRT", delimiter.join(fields)


def _mutated(random_: random.Random, control: str) -> tuple[str, str]:
    verb, text = random_.choice((_right_port, _right_eprt))(random_, control)
    for _ in range(random_.randrange(1, 4)):
        at = random_.randrange(len(text) + 1)
        kind = random_.randrange(4)
        if kind == 0:
            text = text[:at] + random_.choice(JUNK) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + 1 :]
        elif kind == 2:
            text = text[:at] + chr(random_.choice((random_.randrange(128), 0xFF10, 0x660)))
        else:
            text = text[:at] + random_.choice("0123456789") + text[at + 1 :]

    return verb, text


# The run


@contextlib.contextmanager
def _noted_connects() -> Iterator[list[tuple[Any, ...]]]:
    """Record the addresses that sockets should connect to, without connecting."""

    connects: list[tuple[Any, ...]] = []
    real = socket.socket

    class Noting(socket.socket):
        def connect(self, address: Any) -> None:
            connects.append(address)
            raise ConnectionRefusedError("noted, and not connected")

        def connect_ex(self, address: Any) -> int:
            self.connect(address)
            return 0

    socket.socket = Noting  # type: ignore[misc]
    try:
        yield connects
    finally:
        socket.socket = real  # type: ignore[misc]


async def attempts(count: int, seed: int = 0) -> Outcome:
    """Try that many arguments.

    Args:
        count: How many.
        seed: Decides which.
    """

    random_ = random.Random(seed)
    outcome = Outcome()
    makers = {control: arguments(random_, control) for control in CONTROL}
    with _noted_connects() as connects:
        for _ in range(count):
            control = random_.choice(CONTROL)
            outcome.arguments += 1
            command = next(makers[control])
            await _attempt(command, control, random_.choice(RULES), connects, outcome)

    return outcome


async def _attempt(
    command: tuple[str, str],
    control: str,
    rule: Rule,
    connects: list[tuple[Any, ...]],
    outcome: Outcome,
) -> None:
    verb, argument = command
    target: HostPort | None = None
    with contextlib.suppress(BadAddress, UnsupportedNetworkProtocol):
        target = (parse_port if verb == "PORT" else parse_eprt)(argument)

    meant = (meant_by_port if verb == "PORT" else meant_by_eprt)(argument)
    understood = None if target is None else (target.ip.packed, target.port)
    if understood != meant:
        outcome.misread += 1
        outcome.examples.append(f"{verb} {argument!r:.80}: {understood} is not {meant}")

    if target is None:
        return

    outcome.parsed += 1
    connects.clear()
    may_pass = True
    try:
        endpoint = connect_active(target, control_peer=control, policy=rule.policy)
        outcome.permitted += 1
        with contextlib.suppress(DataConnectionError):
            await endpoint.open()
    except PeerRejected:
        may_pass = False

    packed = _packed(control)
    assert packed is not None
    if may_pass is not (meant is not None and rule.permits(meant, packed)):
        outcome.misjudged += 1
        outcome.examples.append(f"{target} for {control} by the rule {rule.name}: {may_pass}")

    for host, port, *_ in connects:
        outcome.connects += 1
        reached = _packed(host)
        assert reached is not None
        outcome.privileged += port < 1024
        outcome.foreign += not rule.permits((reached, 1024), packed)


def main(arguments: list[str]) -> int:
    """Run; return 1 if anything was connected to that should not, or was misunderstood."""

    count = int(arguments[0]) if arguments else 100_000
    seed = int(arguments[1]) if len(arguments) > 1 else random.randrange(1 << 32)
    outcome = asyncio.run(attempts(count, seed))
    figures = Figures(f"bounce attempts, seed {seed}")
    figures.equal("arguments", outcome.arguments, count)
    # A generator whose arguments are all refused would prove nothing.
    figures.at_least("understood", outcome.parsed, count // 5)
    figures.at_least("let pass by a policy", outcome.permitted, count // 50)
    figures.equal("connects", outcome.connects, outcome.permitted)
    figures.equal("connects to a foreign or special address", outcome.foreign, 0)
    figures.equal("connects to a privileged port", outcome.privileged, 0)
    figures.equal("misread", outcome.misread, 0)
    figures.equal("misjudged", outcome.misjudged, 0)
    for example in outcome.examples[:10]:
        sys.stdout.write(example + "\n")

    return figures.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
