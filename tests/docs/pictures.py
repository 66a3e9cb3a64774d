"""The pictures that are kept beside this file, for README.md and the site."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from tests.docs.house import draw_house
from tests.docs.life import draw_life

__all__ = ["PICTURES"]

PICTURES: Mapping[Path, Callable[[], str]] = MappingProxyType({
    Path(__file__).with_name("house.svg"): draw_house,
    Path(__file__).with_name("life.svg"): draw_life,
})
"""What draws each of them."""
