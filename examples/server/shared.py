"""What all sessions of a server have in common: settings, files, ports and counts."""

from __future__ import annotations

import attrs

from ftpdata.limits import Usage

from .attempts import LocalFailures, LoginAttempts
from .certificates import Certificates
from .passive import PassivePorts
from .quota import HomeUsages
from .rates import UserRates
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
        attempts: To log in; limits those that fail.
        ports: Where passive data connections come in.
        certificates: For TLS.
        rates: Of users.
        homes: How much is in them.
    """

    settings: Settings
    store: Store
    usage: Usage
    attempts: LoginAttempts
    ports: PassivePorts
    certificates: Certificates
    rates: UserRates
    homes: HomeUsages

    @classmethod
    def of(cls, store: Store, settings: Settings) -> Shared:
        """Begin, with nothing counted."""

        usage = Usage(settings.limits)
        return cls(
            settings=settings,
            store=store,
            usage=usage,
            attempts=LoginAttempts(
                settings.failures
                or LocalFailures(settings.max_failures_per_address, settings.failure_window)
            ),
            ports=PassivePorts(settings, usage),
            certificates=Certificates(
                [settings.certificate, *(host.certificate for host in settings.hosts.values())]
            ),
            rates=UserRates(),
            homes=HomeUsages(),
        )
