"""What the start page of the site shows: a way to every guide."""

from __future__ import annotations

import attrs

__all__ = ["SECTIONS", "Section"]


@attrs.frozen
class Section:
    """A part of the start page.

    Attributes:
        title: Its heading.
        modules: The modules whose docstrings are the guides.
    """

    title: str
    modules: tuple[str, ...]

    @property
    def anchor(self) -> str:
        """Where it is on the page."""

        return self.title.lower().replace(" ", "-")


SECTIONS = (
    Section(
        "For servers",
        (
            "examples.server",
            "examples.minimal_server",
            "examples.accounts_sqlite",
            "examples.accounts_ldap",
            "examples.aioftp_server",
            "examples.twisted_shell",
            "examples.camera_gateway",
            "examples.proxy",
        ),
    ),
    Section(
        "For clients",
        (
            "examples.client",
            "examples.mirror_to_store",
            "examples.control",
            "examples.mainframe",
            "examples.transfer_modes",
            "examples.demo",
        ),
    ),
)
"""The sections for those who write a program.

After them come the tasks of README.md, the design, and the reference, which has every module.
"""
