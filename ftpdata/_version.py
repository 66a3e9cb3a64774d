"""Which version this is. Nothing else says so: hatchling reads this file, too."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "1.0.0"
