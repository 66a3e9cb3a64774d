"""What a caller knows about a listing that its lines do not say.

Pure. RFC 959 §4.1.3 leaves the text of LIST to the server. SYST (RFC 959 §4.1.3) and the user
often know what a line alone cannot show: the system, or the order of day and month.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from .._checks import checked

__all__ = ["DateOrder", "ListFormat", "ListingHints"]


class ListFormat(enum.Enum):
    """The formats of LIST that can be read.

    The listings of z/OS are of four kinds: data sets, the members of a partitioned one, those
    of a load library, and the jobs of JES.
    """

    UNIX = "unix"
    MSDOS = "msdos"
    EPLF = "eplf"
    VMS = "vms"
    MVS_DATA_SETS = "mvs data sets"
    MVS_MEMBERS = "mvs members"
    MVS_MODULES = "mvs modules"
    MVS_JOBS = "mvs jobs"
    OS400 = "os400"
    NETWARE = "netware"
    NONSTOP = "nonstop"


class DateOrder(enum.Enum):
    """The order of day, month and year in a date of digits, such as 02/03/04."""

    MONTH_FIRST = "mdy"
    DAY_FIRST = "dmy"
    YEAR_FIRST = "ymd"


@attrs.frozen(kw_only=True, field_transformer=checked)
class ListingHints:
    """What is known about a listing before it is read.

    Attributes:
        format: The format of all its lines. With it, lines are read that mean nothing by
            themselves: a member of z/OS without statistics is one word, and a total of
            ``ls -l`` may begin with a word of any language.
        date_order: The order in dates of digits, for MS-DOS, OS/400, and ``02-03-2026`` and
            ``02/03/2026`` in ``ls -l``. Without it, MS-DOS is read with the month first, as
            Windows' IIS writes, ``02-03-2026`` with the day first; ``02/03/2026`` only if a
            single order makes a date of it, and a date of OS/400 only if a single one makes a
            date that is not in the future.
        lower_case: Whether names of systems that have no lower case (VMS, z/OS, NonStop) are
            returned in it. Their commands take either.
    """

    format: ListFormat | None = None
    date_order: DateOrder | None = None
    lower_case: bool = False


NO_HINTS: Final = ListingHints()
