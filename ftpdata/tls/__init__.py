"""How data connections are protected (RFC 4217, RFC 8446)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .policy import DataTLS, ServerCertificate, SessionReuse

__all__ = [
    "DataTLS",
    "ServerCertificate",
    "SessionReuse",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "policy": ("DataTLS", "ServerCertificate", "SessionReuse"),
        },
    )
