"""What all sessions of a server have in common: settings, files, ports and counts."""

from __future__ import annotations

import attrs

from ftpdata.limits import FailedAttempts, Usage

from .passive import PassivePorts
from .settings import Settings
from .store import Store

__all__ = ["Shared"]


@attrs.frozen(kw_only=True)
class Shared:
    """What a session shares with all others.

    Attributes:
        settings: Of the server.
        store: What is served.
        usage: Counts listeners, data connections and transfers.
        failures: Counts wrong passwords by address.
        ports: Where passive data connections come in.
    """

    settings: Settings
    store: Store
    usage: Usage
    failures: FailedAttempts
    ports: PassivePorts

    @classmethod
    def of(cls, store: Store, settings: Settings) -> Shared:
        """Begin, with nothing counted."""

        usage = Usage(settings.limits)
        return cls(
            settings=settings,
            store=store,
            usage=usage,
            failures=FailedAttempts(
                settings.max_failures_per_address, window=settings.failure_window
            ),
            ports=PassivePorts(settings, usage),
        )
