"""What ``python -m ftpdata`` says: of a system, and of the transfers that were tried on it.

Pure: the facts come from `ftpdata._offers` and `ftpdata._self_check`.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

__all__ = [
    "Offer",
    "Setting",
    "Trial",
    "as_json",
    "lines_of_setting",
    "row_of_trial",
    "verdict",
    "works",
]

_NAMES = 22
"""Columns of the names in a table."""


@attrs.frozen
class Offer:
    """Something that a system may offer to this library, which does without it otherwise.

    Attributes:
        name: Its name.
        is_there: Whether it is there.
        detail: Its version, or what it means that it is not there; it may be empty.
    """

    name: str
    is_there: bool
    detail: str = ""


@attrs.frozen
class Setting:
    """Where the library runs.

    Attributes:
        version: The version of this library.
        python: The Python that runs it.
        system: The system and the machine.
        tls: The TLS library.
        offers: What the system offers.
    """

    version: str
    python: str
    system: str
    tls: str
    offers: Sequence[Offer]


@attrs.frozen(kw_only=True)
class Trial:
    """A transfer between two endpoints of this library that was tried.

    Attributes:
        name: What it was: which way, in clear or through TLS.
        failure: What was wrong; None if every byte arrived.
        size: Bytes of the file.
        seconds: How long it took.
        sent_by: The fast path of the sender; see `ftpdata.FastPath`.
        received_by: That of the receiver.
        protection: Version and cipher of TLS; None in clear.
    """

    name: str
    failure: str | None = None
    size: int = 0
    seconds: float = 0.0
    sent_by: str = "none"
    received_by: str = "none"
    protection: str | None = None


def lines_of_setting(setting: Setting) -> list[str]:
    """Return the lines that say where the library runs."""

    return [
        f"ftpdata {setting.version}",
        f"{setting.python} on {setting.system}",
        f"{'TLS':{_NAMES}}{setting.tls}",
        *map(_row_of_offer, setting.offers),
    ]


def _row_of_offer(offer: Offer) -> str:
    detail = f" ({offer.detail})" if offer.detail else ""
    return f"{offer.name:{_NAMES}}{'yes' if offer.is_there else 'no'}{detail}"


def row_of_trial(trial: Trial) -> str:
    """Return the line that says what became of a transfer."""

    if trial.failure is not None:
        return f"{trial.name:{_NAMES}}failed: {trial.failure}"

    ways = f"sent by {trial.sent_by}, received by {trial.received_by}"
    protection = "" if trial.protection is None else f", {trial.protection}"
    return (
        f"{trial.name:{_NAMES}}works: {trial.size:,} bytes in {trial.seconds:.3f} s, "
        f"{ways}{protection}"
    )


def works(trials: Sequence[Trial]) -> bool:
    """Whether no transfer has failed."""

    return all(trial.failure is None for trial in trials)


def verdict(trials: Sequence[Trial]) -> str:
    """Say in one line whether everything works, or what does not."""

    failed = [f"{trial.name}: {trial.failure}" for trial in trials if trial.failure is not None]
    if failed:
        return f"{len(failed)} of {len(trials)} transfers failed: {'; '.join(failed)}"

    return "everything works"


def as_json(setting: Setting, trials: Sequence[Trial]) -> dict[str, object]:
    """Return all of it in the types of JSON."""

    return {
        **attrs.asdict(setting, recurse=False),
        "offers": [attrs.asdict(offer) for offer in setting.offers],
        "transfers": [attrs.asdict(trial) for trial in trials],
        "works": works(trials),
        "verdict": verdict(trials),
    }
