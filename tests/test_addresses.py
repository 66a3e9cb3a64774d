"""Addresses in commands and replies, and the policy for peers."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable
from functools import partial

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpdata.addresses import (
    EPSV_ALL,
    HostPort,
    NetworkProtocol,
    PeerPolicy,
    format_eprt,
    format_epsv_reply,
    format_pasv_reply,
    format_port,
    parse_eprt,
    parse_epsv,
    parse_epsv_reply,
    parse_pasv_reply,
    parse_port,
)
from ftpdata.errors import BadAddress, UnsupportedNetworkProtocol

ports = st.integers(1, 65535)
ipv4_addresses = st.ip_addresses(v=4).map(str)
addresses = st.builds(HostPort, st.ip_addresses(), ports)

# Values of HostPort


@pytest.mark.parametrize(
    ("given_host", "host"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        (ipaddress.ip_address("192.0.2.1"), "192.0.2.1"),
        (ipaddress.ip_address("::ffff:192.0.2.1"), "192.0.2.1"),
        (ipaddress.ip_address("2001:db8::1"), "2001:db8::1"),
    ],
)
def test_host_is_normalised(
    given_host: str | ipaddress.IPv4Address | ipaddress.IPv6Address, host: str
) -> None:
    """Each address has one text; a mapped address becomes the IPv4 address."""
    address = HostPort(given_host, 2121)
    assert address.host == host
    assert address.ip == ipaddress.ip_address(host)
    assert address.is_ipv6 is (":" in host)
    assert address.network_protocol == (2 if ":" in host else 1)


@pytest.mark.parametrize(
    "host",
    [
        "", "localhost", "192.0.2", "192.0.2.256", "192.0.2.01", "192.0.2.1 ", " 192.0.2.1",
        "192.0.2.1/32", "+1.2.3.4", "1_0.2.3.4", "１.2.3.4", "0x7f.0.0.1", "2130706433",
        "fe80::1%eth0", "fe80::1%1", "::ffff:192.0.2.1%1", "[::1]", "::1::", "12345::", ":::",
        "::ffff:192.0.2.01", "192.0.2.1\n", "::1\x00", 2130706433, b"\x7f\x00\x00\x01", None,
        ipaddress.ip_address("fe80::1%eth0"),
    ],
)
def test_host_that_is_not_an_address_is_refused(host: str) -> None:
    """Names, scope ids, numbers that are not plain decimal and other types are refused."""
    with pytest.raises(BadAddress, match="address") as caught:
        HostPort(host, 2121)

    assert caught.value.reply_code == 501


@pytest.mark.parametrize("port", [0, -1, 65536, True, 21.0, "21", None])
def test_port_out_of_range_is_refused(port: int) -> None:
    """A port is an integer from 1 to 65535."""
    with pytest.raises(BadAddress, match="port"):
        HostPort("192.0.2.1", port)

    with pytest.raises(BadAddress, match="port"):
        format_epsv_reply(port)


def test_address_as_text_and_as_value() -> None:
    """An address prints as expected, is compared by value, and cannot be changed."""
    assert str(HostPort("192.0.2.1", 20)) == "192.0.2.1:20"
    assert str(HostPort("2001:db8::1", 20)) == "[2001:db8::1]:20"
    assert HostPort("::ffff:192.0.2.1", 20) == HostPort("192.0.2.1", 20)
    assert len({HostPort("::1", 20), HostPort("0::1", 20)}) == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        HostPort("192.0.2.1", 20).port = 21  # type: ignore[misc]


# Notations: one table for both directions


@pytest.mark.parametrize(
    ("host", "port", "text"),
    [
        ("127.0.0.1", 1075, "127,0,0,1,4,51"),
        ("132.235.1.2", 6275, "132,235,1,2,24,131"),
        ("255.255.255.255", 65535, "255,255,255,255,255,255"),
        ("0.0.0.0", 1, "0,0,0,0,0,1"),
        ("10.200.30.4", 256, "10,200,30,4,1,0"),
    ],
)
def test_port_and_pasv_notation(host: str, port: int, text: str) -> None:
    """PORT's argument and the reply to PASV carry the same six numbers."""
    address = HostPort(host, port)
    assert format_port(address) == text
    assert parse_port(text) == address
    reply = f"227 Entering Passive Mode ({text})."
    assert format_pasv_reply(address) == reply
    assert re.fullmatch(r"227 Entering Passive Mode \((?:\d+,){5}\d+\)\.", reply)
    assert parse_pasv_reply(reply) == address


@pytest.mark.parametrize(
    ("host", "port", "text"),
    [
        ("132.235.1.2", 6275, "|1|132.235.1.2|6275|"),
        ("1080::8:800:200c:417a", 5282, "|2|1080::8:800:200c:417a|5282|"),
        ("::1", 65535, "|2|::1|65535|"),
        ("0.0.0.0", 1, "|1|0.0.0.0|1|"),
    ],
)
def test_eprt_notation(host: str, port: int, text: str) -> None:
    """EPRT's argument is the one of RFC 2428 §2."""
    assert format_eprt(HostPort(host, port)) == text
    assert parse_eprt(text) == HostPort(host, port)


@pytest.mark.parametrize(
    "argument",
    [
        "192,168,001,103,4,1", "192,168,1,103,004,001", "0192,168,1,103,4,1",
        "192, 168, 1, 103, 4, 1", "192 , 168,1,103,4,1", "192,168,1,103,4,1 ", " 192,168,1,103,4,1",
        "192,168,1,103,4,1" + " " * 1000,
    ],
)
def test_port_as_devices_send_it(argument: str) -> None:
    """Numbers are decimal also with leading zeros (RFC 959 §5.3.2); blanks mean nothing."""
    assert parse_port(argument) == HostPort("192.168.1.103", 1025)


@pytest.mark.parametrize(
    "argument",
    [
        "|1|192.168.1.103|01025|", "|01|192.168.1.103|1025|", "|1|192.168.1.103|1025| ",
        " |1|192.168.1.103|1025|", "| 1 | 192.168.1.103 | 1025 |", "|1|192.168.1.103|0001025|",
    ],
)
def test_eprt_as_devices_send_it(argument: str) -> None:
    """The same holds for EPRT, but no address has leading zeros: some peers read them as octal."""
    assert parse_eprt(argument) == HostPort("192.168.1.103", 1025)


@pytest.mark.parametrize(
    "text",
    ["229 Ready (|||01025|)", "229 Ready (||| 1025 |)", "229 Ready ( |||1025| )", "(|||1025|) "],
)
def test_epsv_replies_as_devices_send_them(text: str) -> None:
    """The same holds for the reply to EPSV."""
    assert parse_epsv_reply(text) == 1025


@pytest.mark.parametrize("argument", ["1 ", " 1", "01"])
def test_epsv_as_devices_send_it(argument: str) -> None:
    """The same holds for EPSV itself."""
    assert parse_epsv(argument) is NetworkProtocol.IPV4
    assert parse_epsv(" all ") == EPSV_ALL
    assert parse_epsv(" ") is None


def test_epsv_notation() -> None:
    """The reply to EPSV is the one of RFC 2428 §3, and has no full stop."""
    assert format_epsv_reply(6446) == "229 Entering Extended Passive Mode (|||6446|)"
    assert parse_epsv_reply("229 Entering Extended Passive Mode (|||6446|)") == 6446


@given(ipv4_addresses, ports)
def test_six_numbers_round_trip(host: str, port: int) -> None:
    """What is formatted is parsed again, for every IPv4 address and port."""
    address = HostPort(host, port)
    assert parse_port(format_port(address)) == address
    assert parse_pasv_reply(format_pasv_reply(address)) == address


@given(addresses)
def test_eprt_round_trip(address: HostPort) -> None:
    """What is formatted is parsed again, for both families."""
    assert parse_eprt(format_eprt(address)) == address


@given(ports)
def test_epsv_reply_round_trip(port: int) -> None:
    """Every port passes through the reply to EPSV."""
    assert parse_epsv_reply(format_epsv_reply(port)) == port


@pytest.mark.parametrize("delimiter", [chr(code) for code in range(33, 127)])
def test_every_legal_delimiter(delimiter: str) -> None:
    """All of the 94 delimiters of RFC 2428 §2 work, if no field contains them."""
    for protocol, host, port in (("1", "33.4.5.66", 7788), ("2", "9::9", 9999), ("2", "::", 1)):
        argument = delimiter.join(("", protocol, host, str(port), ""))
        if delimiter in f"{protocol}{host}{port}":
            with pytest.raises(BadAddress):
                parse_eprt(argument)
        else:
            assert parse_eprt(argument) == HostPort(host, port)

    reply = f"229 Ready ({delimiter * 3}5678{delimiter})"
    if delimiter in "5678":
        with pytest.raises(BadAddress):
            parse_epsv_reply(reply)
    else:
        assert parse_epsv_reply(reply) == 5678


@pytest.mark.parametrize("delimiter", [" ", "\x1f", "\x7f", "\x80", "¦", "｜", "\n", "\0"])
def test_other_delimiters_are_refused(delimiter: str) -> None:
    """A delimiter is printable ASCII."""
    with pytest.raises(BadAddress):
        parse_eprt(delimiter.join(("", "1", "192.0.2.1", "2121", "")))

    with pytest.raises(BadAddress):
        parse_epsv_reply(f"229 Ready ({delimiter * 3}2121{delimiter})")


def test_mapped_address_in_eprt_becomes_ipv4() -> None:
    """Clients with a dual-stack socket name themselves by their mapped address."""
    assert parse_eprt("|2|::ffff:192.0.2.1|2121|") == HostPort("192.0.2.1", 2121)


BAD_NUMBERS = [
    "", " ", "256", "999", "0256", "-1", "+1", "0x1", "0o1", "1_0", "1e1", "1.0", "1 1", "- 1",
    "１", "١", "²", "1\n", "\t1", "1\xa0", "a", "1" * 5000, "0" * 5000,
]


@pytest.mark.parametrize("number", BAD_NUMBERS)
@pytest.mark.parametrize("position", range(6))
def test_bad_number_in_port(number: str, position: int) -> None:
    """Each of the six numbers is plain decimal from 0 to 255."""
    numbers = ["9"] * 6
    numbers[position] = number
    with pytest.raises(BadAddress):
        parse_port(",".join(numbers))


@pytest.mark.parametrize(
    "argument",
    [
        "", ",", "1,2,3,4,5", "1,2,3,4,5,6,7", "1,2,3,4,5,6,", ",1,2,3,4,5,6", "1.2.3.4.5.6",
        "1,2,3,4,,6", "(1,2,3,4,5,6)", "1 2 3 4 5 6", "127,0,0,1,0,0", "1，2，3，4，5，6",
        "127,0,0,1, 0, 000", "1,2,3,4,5,6 ,",
        "1,2,3,4,5,6\r\n", "1;2;3;4;5;6", "1,2,3,4,1286",
    ],
)
def test_bad_argument_of_port(argument: str) -> None:
    """There are six numbers, no more, no less, with nothing around them, and the port is not 0."""
    with pytest.raises(BadAddress) as caught:
        parse_port(argument)

    assert caught.value.reply_code == 501
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "text",
    [
        "227 Entering Passive Mode (127,0,0,1,4,51)",
        "227 Entering Passive Mode (127,0,0,1,4,51).",
        "227 Entering passive mode. 127,0,0,1,4,51",
        "227 Data transfer will passively listen to 127,0,0,1,4,51",
        "227 =127,0,0,1,4,51",
        "227 127,0,0,1,4,51",
        "227-listen socket created\r\n227 (127,0,0,1,4,51)",
        "227 Entering Passive Mode <127,0,0,1,4,51>.\r\n",
        "227 Passive 2 of 3, 127,0,0,1,4,51, ok",
        "Entering Passive Mode (127,0,0,1,4,51)",
        "127,0,0,1,4,51",
        "227 Entering Passive Mode (127, 0, 0, 1, 4, 51)",
        "227 Entering Passive Mode ( 127 , 0 , 0 , 1 , 4 , 51 )",
        "227 Entering Passive Mode (127,000,000,001,004,051)",
        "227 127, 000, 0, 1, 4, 51",
        "227 Passive 2, 127, 0 or (127, 0, 0, 1, 4, 51)",
    ],
)
def test_pasv_replies_of_real_servers(text: str) -> None:
    """The numbers are found wherever the server puts them (RFC 1123 §4.1.2.6)."""
    assert parse_pasv_reply(text) == HostPort("127.0.0.1", 1075)


@pytest.mark.parametrize(
    "text",
    [
        "", "227", "227 Entering Passive Mode", "227 (127,0,0,1,4)", "227 (1,127,0,0,1,4,51)",
        "227 (127,0,0,1,4,51,1)", "227 (-127,0,0,1,4,51)", "227 (+127,0,0,1,4,51)",
        "227 (127,0,0,1,4,510)", "227 (127, 0, 0, 1, 4, 510)", "227 (127, 0, 0, 1, 4, 51, 1)",
        "227 (1, 127, 0, 0, 1, 4, 51)", "227 (127, 0, 0, 1, 4)", "227 (127, 0, 0, 1, 4, 51_0)",
        "227 (127,0,0,1,0,0)", "227 (1.127,0,0,1,4,51)", "227 (１127,0,0,1,4,51)",
        "227 (127,0,0,1,4,51１)", "227 (127,0,0,1,4,51.1)",
        "227 (127,0,0,1,4,51_0)", "421 (127,0,0,1,4,51)", "229 Ready (|||1075|)",
        "229 127,0,0,1,4,51", "227(300,0,0,1,4,51)",
    ],
)
def test_bad_pasv_replies(text: str) -> None:
    """Numbers that are part of something else, or of another reply, are not used."""
    with pytest.raises(BadAddress):
        parse_pasv_reply(text)


@pytest.mark.parametrize(
    "argument",
    [
        "", "|", "||", "|||||", "1", "|1|192.0.2.1|2121", "1|192.0.2.1|2121|", "|1|192.0.2.1|",
        "|1|192.0.2.1|2121||", "||1|192.0.2.1|2121|", "|1|192.0.2.1|2121|x", "\t|1|192.0.2.1|2121|",
        "|1|192.0.2.1|2121|\n", "|1|192.0.2.1|2121!", "||192.0.2.1|2121|", "|1||2121|",
        "|1|192.0.2.1||", "|1|192.0.2.1|0|", "|1|192.0.2.1|65536|", "|1|192.0.2.1|99999|",
        "|1|192.0.2.1|-1|", "|1|192.0.2.1|+2121|", "|1|192.0.2.1|2_121|",
        "|1|192.0.2.1|２121|", "|1|192.0.2.1|2 121|", "|1|192.0.2.1|http|", "|1|192. 0.2.1|2121|",
        "|1|192.0.2.1|000|", "|1|192.000.002.001|2121|",
        "|1|192.0.2.1|" + "9" * 5000 + "|", "|1|::1|2121|", "|1|::ffff:192.0.2.1|2121|",
        "|2|192.0.2.1|2121|", "|2|fe80::1%eth0|2121|", "|2|fe80::1%1|2121|", "|2|[::1]|2121|",
        "|1|192.0.2.010|2121|", "|1|192.0.2|2121|", "|1|3221225985|2121|", "|1|localhost|2121|",
        "|2|::1/128|2121|", "|1|192.0.2.1/32|2121|", "|+1|192.0.2.1|2121|",
        "|１|192.0.2.1|2121|", "|-1|192.0.2.1|2121|", "|a|192.0.2.1|2121|",
        "|" + "3" * 5000 + "|192.0.2.1|2121|", "|1|" + "1" * 5000 + "|2121|",
    ],
)
def test_bad_argument_of_eprt(argument: str) -> None:
    """Anything but the notation, an address of the given family, and a port is refused."""
    with pytest.raises(BadAddress) as caught:
        parse_eprt(argument)

    assert caught.value.reply_code == 501
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("family", ["0", "3", "16", "65535"])
def test_unknown_protocol_in_eprt_and_epsv(family: str) -> None:
    """Another address family is answered with 522 and the list of those that work."""
    for parse, argument in (
        (parse_eprt, f"|{family}|x|y|"),
        (parse_epsv, family),
    ):
        with pytest.raises(UnsupportedNetworkProtocol) as caught:
            parse(argument)

        assert caught.value.reply_code == 522
        assert caught.value.supported == (1, 2)
        assert str(caught.value) == "Network protocol not supported, use (1,2)"


@pytest.mark.parametrize(
    ("supported", "good", "bad"), [((1,), "|1|192.0.2.1|9|", "2"), ((2,), "|2|::1|9|", "1")]
)
def test_protocol_that_this_host_does_not_have(
    supported: tuple[int, ...], good: str, bad: str
) -> None:
    """A caller with a single family refuses the other one, and says which it has."""
    assert parse_eprt(good, supported=supported).network_protocol == supported[0]
    assert parse_epsv(str(supported[0]), supported=supported) == supported[0]
    for parse, argument in ((parse_eprt, f"|{bad}|x|y|"), (parse_epsv, bad)):
        with pytest.raises(UnsupportedNetworkProtocol) as caught:
            parse(argument, supported=supported)

        assert caught.value.supported == supported
        assert str(caught.value).endswith(f"use ({supported[0]})")


def test_only_known_protocols_are_supported() -> None:
    """A family that has no notation is refused even if the caller lists it."""
    with pytest.raises(UnsupportedNetworkProtocol):
        parse_epsv("3", supported=(1, 2, 3))


@pytest.mark.parametrize(
    ("argument", "wanted"),
    [
        ("", None),
        ("1", NetworkProtocol.IPV4),
        ("2", NetworkProtocol.IPV6),
        ("ALL", EPSV_ALL),
        ("all", EPSV_ALL),
        ("All", EPSV_ALL),
    ],
)
def test_argument_of_epsv(argument: str, wanted: NetworkProtocol | str | None) -> None:
    """EPSV has no argument, a family or ALL."""
    assert parse_epsv(argument) == wanted
    assert parse_epsv() is None


@pytest.mark.parametrize(
    "argument", ["\t", "1\t", "1 2", "1 1", "+1", "-1", "１", "1.0", "ALLE", "AL", "IPv6", "ＡＬＬ"]
)
def test_bad_argument_of_epsv(argument: str) -> None:
    """Anything else is a syntax error."""
    with pytest.raises(BadAddress):
        parse_epsv(argument)


@pytest.mark.parametrize(
    "text",
    [
        "229 Entering Extended Passive Mode (|||50006|).",
        "229 (|||50006|)",
        "229 Entering Passive Mode (!!!50006!) and more\r\n",
        "Entering Extended Passive Mode (|||50006|)",
        "229-Wait\r\n229 Extended (see RFC 2428) (|||50006|)",
    ],
)
def test_epsv_replies_of_real_servers(text: str) -> None:
    """Words around the parentheses do not matter, nor does a full stop (Serv-U)."""
    assert parse_epsv_reply(text) == 50006


@pytest.mark.parametrize(
    "text",
    [
        "", "229", "229 Ready |||50006|", "229 Ready (|||50006|", "229 Ready (||50006|)",
        "229 Ready (|||50006)", "229 Ready (|||50006!)", "229 Ready (|1|192.0.2.1|50006|)",
        "229 Ready (||192.0.2.1|50006|)", "229 Ready (|||0|)", "229 Ready (|||65536|)",
        "229 Ready (|||-5|)", "229 Ready (|||５|)", "229 Ready (||||)",
        "229 Ready (|||5 5|)", "229 Ready (|||5||)", "227 Ready (|||50006|)",
        "500 (|||50006|)",
    ],
)
def test_bad_epsv_replies(text: str) -> None:
    """Half a notation, one that is not left empty, a bad port or another code is refused."""
    with pytest.raises(BadAddress):
        parse_epsv_reply(text)


@pytest.mark.parametrize("write", [format_port, format_pasv_reply])
def test_ipv6_address_does_not_fit_port_and_pasv(write: Callable[[HostPort], str]) -> None:
    """Six numbers cannot express an IPv6 address: 522, use EPRT and EPSV."""
    with pytest.raises(UnsupportedNetworkProtocol, match="EPSV") as caught:
        write(HostPort("::1", 2121))

    assert caught.value.supported == (1,)


PARSERS: list[Callable[[str], object]] = [
    parse_port, parse_pasv_reply, parse_eprt, parse_epsv, parse_epsv_reply,
]

near_misses = st.lists(
    st.one_of(
        st.sampled_from([*"|,.:()!%+-_ \r\n\0", "227 ", "229 ", "ALL", "::ffff:", "１", "٣", "%1"]),
        st.integers(-1, 70000).map(str),
        st.ip_addresses().map(str),
    ),
    max_size=14,
).map("".join)


@settings(max_examples=1000, deadline=None)
@given(st.one_of(st.text(), st.binary().map(lambda data: data.decode("latin-1")), near_misses))
def test_only_our_errors_escape_from_parsers(text: str) -> None:
    """Whatever the text, a parser returns a value or raises one of two errors."""
    for parse in PARSERS:
        message = "accepted"
        try:
            parse(text)
        except (BadAddress, UnsupportedNetworkProtocol) as error:
            message = str(error)

        assert len(message) < 200
        assert message.isprintable()


@settings(max_examples=500)
@given(near_misses)
def test_what_is_parsed_is_a_valid_address(text: str) -> None:
    """A parser that accepts a text gives an address that formats and parses to itself."""
    for parse in (parse_port, parse_pasv_reply, parse_eprt):
        try:
            address = parse(text)
        except (BadAddress, UnsupportedNetworkProtocol):
            continue

        assert 1 <= address.port <= 65535
        assert parse_eprt(format_eprt(address)) == address


# Policy

EXACT = PeerPolicy.exact()
NEAR = PeerPolicy.same_network()
SITES = PeerPolicy.allow(["198.51.100.0/24", "2001:db8:5::/48", "10.1.0.0/16"])
FXP = PeerPolicy.any()


@pytest.mark.parametrize(
    ("policy", "candidate", "control", "accepted"),
    [
        (EXACT, "192.0.2.1", "192.0.2.1", True),
        (EXACT, "192.0.2.2", "192.0.2.1", False),
        (EXACT, "::ffff:192.0.2.1", "192.0.2.1", True),
        (EXACT, "192.0.2.1", "::ffff:192.0.2.1", True),
        (EXACT, "::ffff:192.0.2.2", "::ffff:192.0.2.1", False),
        (EXACT, "::192.0.2.1", "192.0.2.1", False),
        (EXACT, "2001:db8::1", "2001:0DB8:0::1", True),
        (EXACT, "2001:db8::2", "2001:db8::1", False),
        (EXACT, "127.0.0.1", "127.0.0.1", True),
        (EXACT, "127.0.0.2", "127.0.0.1", False),
        (EXACT, "::1", "127.0.0.1", False),
        (EXACT, "fe80::1%eth0", "fe80::1%eth0", True),
        (EXACT, "fe80::1%eth0", "fe80::1%eth1", False),
        (EXACT, "fe80::1", "fe80::1%eth1", True),
        (EXACT, "fe80::1%eth0", "fe80::1", True),
        (EXACT, "fe80::2%eth0", "fe80::1%eth0", False),
        (EXACT, "192.0.2.1", None, False),
        (EXACT, "192.0.2.1", "", False),
        (EXACT, "", "", False),
        (EXACT, "localhost", "localhost", False),
        (NEAR, "192.0.2.200", "192.0.2.1", True),
        (NEAR, "192.0.3.1", "192.0.2.1", False),
        (NEAR, "2001:db8::ffff:0:0:1", "2001:db8::1", True),
        (NEAR, "2001:db8:0:1::1", "2001:db8::1", False),
        (NEAR, "192.0.2.1", None, False),
        (PeerPolicy.same_network(0, 0), "198.51.100.1", "192.0.2.1", True),
        (PeerPolicy.same_network(0, 0), "2001:db8::1", "192.0.2.1", False),
        (PeerPolicy.same_network(31), "192.0.2.1", "192.0.2.0", True),
        (PeerPolicy.same_network(31), "192.0.2.2", "192.0.2.1", False),
        (SITES, "198.51.100.77", "192.0.2.1", True),
        (SITES, "::ffff:198.51.100.77", "192.0.2.1", True),
        (SITES, "198.51.101.77", "192.0.2.1", False),
        (SITES, "2001:db8:5:9::1", "192.0.2.1", True),
        (SITES, "2001:db8:6::1", "192.0.2.1", False),
        (SITES, "192.0.2.1", "192.0.2.1", True),
        (SITES, "198.51.100.77", None, True),
        (SITES, "192.0.2.1", None, False),
        (PeerPolicy.allow(["::ffff:10.0.0.0/104"]), "10.9.8.7", "192.0.2.1", True),
        (PeerPolicy.allow(["::ffff:10.0.0.0/104"]), "11.9.8.7", "192.0.2.1", False),
        (PeerPolicy.allow([ipaddress.ip_address("10.0.0.1")]), "10.0.0.1", "192.0.2.1", True),
        (PeerPolicy.allow([ipaddress.ip_address("10.0.0.1")]), "10.0.0.2", "192.0.2.1", False),
        (PeerPolicy.allow([]), "192.0.2.1", "192.0.2.1", True),
        (FXP, "198.51.100.1", "192.0.2.1", True),
        (FXP, "2001:db8::1", "192.0.2.1", True),
        (FXP, "198.51.100.1", None, True),
        (FXP, "not an address", "192.0.2.1", False),
    ],
)
def test_check_of_a_peer(
    policy: PeerPolicy, candidate: str, control: str | None, accepted: bool
) -> None:
    """The policy accepts a connected peer, or says in words why it does not."""
    reason = policy.check(candidate, control)
    assert (reason is None) is accepted, reason
    assert reason is None or reason


def test_reasons_are_words_for_a_log() -> None:
    """A reason says what was compared with what, on one line, whatever the peer's name is."""
    assert EXACT.check("192.0.2.2", "192.0.2.1") == "192.0.2.2 is not the control peer 192.0.2.1"
    assert NEAR.check("192.0.3.2", "192.0.2.1") == (
        "192.0.3.2 is not in the /24 network of the control peer 192.0.2.1"
    )
    assert EXACT.check("192.0.2.2", None) == (
        "192.0.2.2 cannot be compared, the address of the control peer is unknown"
    )
    assert EXACT.check("192.0.2.1", "192.0.2.1", port=80) == "port 80 is privileged"
    hostile = EXACT.check("x\r\n" * 99, "192.0.2.1")
    assert hostile is not None
    assert hostile.isprintable()
    assert len(hostile) < 100


def test_values_of_ipaddress_are_as_good_as_text() -> None:
    """Addresses may be values of the ipaddress module."""
    mapped = ipaddress.ip_address("::ffff:192.0.2.1")
    assert EXACT.check(mapped, ipaddress.ip_address("192.0.2.1")) is None
    assert EXACT.check_target(HostPort("192.0.2.1", 2121), mapped) is None


PUBLIC = "192.0.2.1"


@pytest.mark.parametrize(
    ("policy", "target", "control", "word"),
    [
        # The control peer itself, wherever it is.
        (EXACT, "192.0.2.1", "192.0.2.1", None),
        (EXACT, "::ffff:192.0.2.1", "192.0.2.1", None),
        (EXACT, "192.0.2.1", "::ffff:192.0.2.1", None),
        (EXACT, "127.0.0.1", "127.0.0.1", None),
        (EXACT, "127.0.0.1", "::ffff:127.0.0.1", None),
        (EXACT, "::1", "::1", None),
        (EXACT, "10.0.0.1", "10.0.0.1", None),
        (EXACT, "fd00::1", "fd00::1", None),
        (EXACT, "169.254.1.2", "169.254.1.2", None),
        (EXACT, "fe80::1", "fe80::1%eth0", None),
        (EXACT, "240.0.0.1", "240.0.0.1", None),
        (EXACT, "64:ff9b::c000:201", "64:ff9b::c000:201", None),
        # Targets that nobody may name.
        (EXACT, "0.0.0.0", "0.0.0.0", "unspecified"),
        (EXACT, "0.1.2.3", PUBLIC, "unspecified"),
        (EXACT, "::", "::", "unspecified"),
        (FXP, "0.0.0.0", "127.0.0.1", "unspecified"),
        (FXP, "::", "::1", "unspecified"),
        (FXP, "255.255.255.255", PUBLIC, "broadcast"),
        (FXP, "224.0.0.1", PUBLIC, "multicast"),
        (FXP, "239.255.255.255", PUBLIC, "multicast"),
        (FXP, "ff02::1", PUBLIC, "multicast"),
        (PeerPolicy.any(special_targets=True), "0.0.0.0", PUBLIC, "unspecified"),
        (PeerPolicy.any(special_targets=True), "::ffff:0.0.0.0", PUBLIC, "unspecified"),
        (PeerPolicy.allow(["0.0.0.0/32"]), "0.0.0.0", PUBLIC, "unspecified"),
        # Inside addresses, named from outside.
        (EXACT, "127.0.0.1", PUBLIC, "loopback"),
        (EXACT, "::ffff:127.0.0.1", PUBLIC, "loopback"),
        (FXP, "127.0.0.1", PUBLIC, "loopback"),
        (FXP, "127.9.9.9", PUBLIC, "loopback"),
        (FXP, "::1", PUBLIC, "loopback"),
        (FXP, "::1", "2001:db8::1", "loopback"),
        (FXP, "127.0.0.1", "10.0.0.1", "loopback"),
        (FXP, "127.0.0.1", None, "loopback"),
        (FXP, "127.0.0.2", "127.0.0.1", None),
        (FXP, "::1", "127.0.0.1", None),
        (FXP, "10.0.0.1", PUBLIC, "private"),
        (FXP, "172.31.0.1", PUBLIC, "private"),
        (FXP, "192.168.0.1", PUBLIC, "private"),
        (FXP, "100.100.100.200", PUBLIC, "private"),
        (FXP, "fd00:ec2::254", PUBLIC, "private"),
        (FXP, "fec0::1", PUBLIC, "private"),
        (FXP, "10.0.0.1", "192.168.0.1", None),
        (FXP, "10.0.0.1", "127.0.0.1", "private"),
        (FXP, "198.51.100.1", "10.0.0.1", None),
        (FXP, "172.32.0.1", PUBLIC, None),
        # Addresses that only the control peer itself may name.
        (FXP, "169.254.169.254", PUBLIC, "link-local"),
        (FXP, "169.254.169.254", "169.254.1.1", "link-local"),
        (FXP, "169.254.1.1", "169.254.1.1", None),
        (FXP, "fe80::1", "fe80::2%eth0", "link-local"),
        (FXP, "192.0.0.192", PUBLIC, "reserved"),
        (FXP, "250.1.2.3", PUBLIC, "reserved"),
        (FXP, "::127.0.0.1", "127.0.0.1", "reserved"),
        (FXP, "64:ff9b::7f00:1", PUBLIC, "reserved"),
        # Addresses that the host permits explicitly.
        (PeerPolicy.any(special_targets=True), "127.0.0.1", PUBLIC, None),
        (PeerPolicy.any(special_targets=True), "169.254.169.254", PUBLIC, None),
        (PeerPolicy.exact(special_targets=True), "127.0.0.1", PUBLIC, "not the control peer"),
        (SITES, "10.1.2.3", PUBLIC, None),
        (SITES, "10.2.2.3", PUBLIC, "private"),
        (PeerPolicy.allow(["127.0.0.1"]), "127.0.0.1", PUBLIC, None),
        (PeerPolicy.allow(["::1"]), "::1", PUBLIC, None),
        (PeerPolicy.allow(["169.254.0.0/16"]), "169.254.169.254", PUBLIC, None),
        (PeerPolicy.allow(["8.0.0.0/5"]), "10.1.2.3", PUBLIC, "private"),
        (PeerPolicy.allow(["0.0.0.0/0"]), "127.0.0.1", PUBLIC, "loopback"),
        # Addresses of others.
        (EXACT, "198.51.100.1", PUBLIC, "not the control peer"),
        (EXACT, "192.0.2.2", PUBLIC, "not the control peer"),
        (EXACT, "2001:db8::1", PUBLIC, "not the control peer"),
        (EXACT, "127.0.0.2", "127.0.0.1", "not the control peer"),
        (EXACT, PUBLIC, None, "unknown"),
        (NEAR, "192.0.2.99", PUBLIC, None),
        (NEAR, "192.0.3.99", PUBLIC, "/24 network"),
        (SITES, "198.51.100.1", PUBLIC, None),
        (FXP, "198.51.100.1", PUBLIC, None),
        (FXP, "2001:db8::1", PUBLIC, None),
        (FXP, "2001:db8::1", None, None),
    ],
)
def test_check_of_a_target(
    policy: PeerPolicy, target: str, control: str | None, word: str | None
) -> None:
    """A target of an active connection is accepted, or refused with a reason."""
    reason = policy.check_target(HostPort(target, 2121), control)
    if word is None:
        assert reason is None
    else:
        assert reason is not None
        assert word in reason


CONSTRUCTORS: list[Callable[..., PeerPolicy]] = [
    PeerPolicy.exact,
    PeerPolicy.same_network,
    partial(PeerPolicy.allow, []),
    PeerPolicy.any,
]


@pytest.mark.parametrize("make", CONSTRUCTORS)
def test_privileged_ports(make: Callable[..., PeerPolicy]) -> None:
    """Every policy refuses ports below 1024 to anybody, unless they are permitted (RFC 2577 §3)."""
    for port in (1, 20, 25, 80, 1023):
        assert make().check_target(HostPort(PUBLIC, port), PUBLIC) == f"port {port} is privileged"
        assert make(privileged_ports=True).check_target(HostPort(PUBLIC, port), PUBLIC) is None

    assert make().check_target(HostPort(PUBLIC, 1024), PUBLIC) is None
    assert make().check(PUBLIC, PUBLIC) is None
    assert make().check(PUBLIC, PUBLIC, port=1024) is None


@pytest.mark.parametrize("make", CONSTRUCTORS)
def test_every_policy_can_permit_special_targets(make: Callable[..., PeerPolicy]) -> None:
    """The permission is part of the value."""
    assert make().special_targets is False
    assert make(special_targets=True).special_targets is True


def test_policy_is_a_value() -> None:
    """Policies are compared by value, can be put into sets, and cannot be changed."""
    assert PeerPolicy() == PeerPolicy.exact()
    assert PeerPolicy.allow(["10.0.0.0/8"]) == PeerPolicy.allow(["::ffff:10.0.0.0/104"])
    assert len({EXACT, NEAR, SITES, FXP, PeerPolicy.any()}) == 4
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        EXACT.privileged_ports = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("policy", "accepts_any"),
    [
        (EXACT, False),
        (NEAR, False),
        (SITES, False),
        (FXP, True),
        (PeerPolicy.allow(["0.0.0.0/0"]), False),
        (PeerPolicy.allow(["::/0", "0.0.0.0/0"]), True),
    ],
)
def test_which_policies_need_no_control_peer(policy: PeerPolicy, accepts_any: bool) -> None:
    """Only a policy that admits everybody in both families needs no control peer."""
    assert policy.accepts_any is accepts_any


@pytest.mark.parametrize(
    ("ipv4_prefix", "ipv6_prefix"),
    [(-1, 64), (33, 64), (24, -1), (24, 129)],
)
def test_prefix_out_of_range(ipv4_prefix: int, ipv6_prefix: int) -> None:
    """A prefix longer than the address is a mistake of the caller."""
    with pytest.raises(ValueError, match="prefix is a number from 0"):
        PeerPolicy.same_network(ipv4_prefix, ipv6_prefix)


@pytest.mark.parametrize("network", ["10.0.0.1/8", "example.org", "10.0.0.0/33", ""])
def test_bad_network(network: str) -> None:
    """A network with host bits set is more likely to be a mistake than intended."""
    with pytest.raises(ValueError):
        PeerPolicy.allow([network])


def test_one_text_is_not_a_list_of_networks() -> None:
    """A text instead of a list is refused, not read letter by letter."""
    with pytest.raises(TypeError, match="list"):
        PeerPolicy.allow("10.0.0.0/8")


CONTROL = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "127.0.0.1", "10.0.0.1"]

octets = st.sampled_from(["192", "0", "2", "1", "127", "10", "01", "0x7f", "256", "255", "１"])
six_numbers = st.lists(st.one_of(octets, st.integers(0, 255).map(str)), min_size=6, max_size=6)
hosts = st.one_of(
    st.sampled_from([*CONTROL, "::1", "::", "0.0.0.0", "::192.0.2.1", "2001:db8::1%1"]),
    st.ip_addresses().map(str),
    st.ip_addresses(v=4).map(lambda ip: f"::ffff:{ip}"),
    st.ip_addresses(v=6).map(lambda ip: ip.exploded.upper()),
)
port_arguments = st.one_of(
    six_numbers.map(",".join),
    # The right host with any port, so that accepted addresses are generated, too.
    st.tuples(st.integers(0, 255), st.integers(0, 255)).map(
        lambda pair: f"192,0,2,1,{pair[0]},{pair[1]}"
    ),
)
eprt_arguments = st.builds(
    lambda delimiter, *fields: delimiter.join(("", *fields, "")),
    st.characters(min_codepoint=33, max_codepoint=126),
    st.sampled_from("1122203"),
    hosts,
    st.one_of(st.integers(0, 70000), st.integers(0, 1100)).map(str),
)


def check_no_bounce(target: HostPort, control: str) -> None:
    """Compare the decision of the exact policy with the rule, written in a different way."""
    own = str(ipaddress.ip_address(control.removeprefix("::ffff:")))
    accepted = EXACT.check_target(target, control) is None
    assert accepted is (target.host == own and target.port >= 1024)


@settings(max_examples=1500, deadline=None)
@given(port_arguments, eprt_arguments, st.sampled_from(CONTROL))
def test_no_bounce_under_exact(port_argument: str, eprt_argument: str, control: str) -> None:
    """No PORT and no EPRT leads to a foreign address or a privileged port."""
    for parse, argument in ((parse_port, port_argument), (parse_eprt, eprt_argument)):
        try:
            target = parse(argument)
        except (BadAddress, UnsupportedNetworkProtocol):
            continue

        check_no_bounce(target, control)


def test_no_bounce_through_any_delimiter() -> None:
    """Every delimiter, host, port and control peer is combined: over 10,000 that parse."""
    hosts = {
        1: [*(host for host in CONTROL if ":" not in host), "0.0.0.0", "255.255.255.255"],
        2: ["::1", "::", "2001:db8::1", "::ffff:192.0.2.1", "::192.0.2.1", "fe80::1"],
    }
    parsed = 0
    for code, protocol in itertools.product(range(33, 127), hosts):
        for host, port in itertools.product(hosts[protocol], (0, 1, 21, 1023, 1024, 2121, 65536)):
            argument = chr(code).join(("", str(protocol), host, str(port), ""))
            try:
                target = parse_eprt(argument)
            except BadAddress:
                continue

            for control in CONTROL:
                check_no_bounce(target, control)
                parsed += 1

    assert parsed > 10_000


@settings(max_examples=500, deadline=None)
@given(addresses, st.one_of(st.none(), st.ip_addresses().map(str)))
def test_a_wider_policy_accepts_what_a_narrower_one_does(
    target: HostPort, control: str | None
) -> None:
    """Every policy accepts what exact accepts; none accepts a target that nobody may name."""
    narrow = EXACT.check_target(target, control)
    for policy in (NEAR, SITES, FXP):
        wide = policy.check_target(target, control)
        assert narrow is not None or wide is None
        if target.ip.is_multicast or target.ip.is_unspecified:
            assert wide is not None
