"""How values with many options are shown: by what differs from their defaults.

So a signature that has one as a default can be read: ``deadlines=Deadlines()``.
"""

from __future__ import annotations

from typing import Any, cast

import attrs

__all__ = ["repr_of_changes"]


def repr_of_changes(value: object) -> str:
    """Show an instance of an attrs class by the fields that are not at their defaults.

    To be the ``__repr__`` of the class. What it returns makes an equal value.
    """

    kind = cast("type[attrs.AttrsInstance]", type(value))
    changes = [
        f"{field.alias}={current!r}"
        for field in attrs.fields(kind)
        if field.init and (current := getattr(value, field.name)) != _default(field)
    ]
    return f"{kind.__name__}({', '.join(changes)})"


def _default(field: attrs.Attribute[Any]) -> object:
    default: Any = field.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]
