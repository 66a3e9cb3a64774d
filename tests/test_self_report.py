"""The words of ``python -m ftpdata``."""

from __future__ import annotations

import json

from ftpdata._self_report import (
    Offer,
    Setting,
    Trial,
    as_json,
    lines_of_setting,
    row_of_trial,
    verdict,
)

SETTING = Setting(
    "1.2.3",
    "Python 3.99",
    "Minix",
    "OpenSSL 9",
    [Offer("sendfile", is_there=True), Offer("splice", is_there=False, detail="slower")],
)
GOOD = Trial(
    name="download in clear", size=1234, seconds=0.5, sent_by="sendfile", received_by="splice"
)
PROTECTED = Trial(name="upload through TLS", size=1, protection="TLSv9 GOOD")
BAD = Trial(name="upload in clear", failure="it rains")


def test_the_setting_is_a_table() -> None:
    """What is not there has its consequence beside it."""

    assert lines_of_setting(SETTING) == [
        "ftpdata 1.2.3",
        "Python 3.99 on Minix",
        "TLS                   OpenSSL 9",
        "sendfile              yes",
        "splice                no (slower)",
    ]


def test_a_row_says_what_became_of_a_transfer() -> None:
    """And how: by which paths, and with which protection."""

    assert row_of_trial(GOOD) == (
        "download in clear     works: 1,234 bytes in 0.500 s, sent by sendfile, received by splice"
    )
    assert row_of_trial(PROTECTED).endswith("sent by none, received by none, TLSv9 GOOD")
    assert row_of_trial(BAD) == "upload in clear       failed: it rains"


def test_the_verdict_names_what_fails() -> None:
    """All of it, in one line."""

    assert verdict([GOOD, PROTECTED]) == "everything works"
    assert verdict([GOOD, BAD]) == "1 of 2 transfers failed: upload in clear: it rains"
    assert verdict([BAD, BAD]).count("it rains") == 2


def test_all_of_it_is_json() -> None:
    """With the verdict, and whether it is a good one."""

    told = json.loads(json.dumps(as_json(SETTING, [GOOD, BAD])))
    assert told["offers"][1] == {"name": "splice", "is_there": False, "detail": "slower"}
    assert told["transfers"][1]["failure"] == "it rains"
    assert (told["works"], told["verdict"]) == (False, verdict([GOOD, BAD]))
    assert as_json(SETTING, [GOOD])["works"] is True
