"""A set of facts that has every fact, for the tests of MLSx."""

from __future__ import annotations

from datetime import UTC, datetime

from ftpdata.listing.facts import Facts

SECONDS = datetime(2026, 1, 31, 17, 4, 5, tzinfo=UTC).timestamp()

FULL = Facts(
    type="file",
    size=12,
    modify=SECONDS,
    create=0.5,
    perm="adfrw",
    unique="fe00g20c5af",
    lang="en-US",
    media_type="text/plain",
    charset="latin-1",
    unix_mode=0o4755,
    unix_owner="joe",
    unix_group="Domain Users",
    unix_uid=1000,
    unix_gid=0,
    others=(("X.desc", "a;b\r\n"),),
)
FULL_LINE = (
    b"type=file;size=12;modify=20260131170405;create=19700101000000.5;perm=adfrw;"
    b"unique=fe00g20c5af;lang=en-US;media-type=text/plain;charset=latin-1;unix.mode=4755;"
    b"unix.owner=joe;unix.group=Domain%20Users;unix.uid=1000;unix.gid=0;X.desc=a%3Bb%0D%0A;  a b "
)
