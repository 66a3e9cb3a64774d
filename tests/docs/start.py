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
        pages: Titles of pages that are no module's, and what they have.
    """

    title: str
    modules: tuple[str, ...]
    pages: tuple[tuple[str, str], ...] = ()

    @property
    def anchor(self) -> str:
        """Where it is on the page."""

        return self.title.lower().replace(" ", "-")


SECTIONS = (
    Section(
        "For servers",
        (
            "examples.minimal_server",
            "examples.server",
            "ftpdata.opening",
            "ftpdata.transfers",
            "ftpdata.observers",
            "ftpdata.lowlevel",
            "examples.aioftp_server",
            "examples.twisted_shell",
        ),
    ),
    Section(
        "For clients",
        (
            "examples.client",
            "ftpdata.listing",
            "examples.mirror_to_store",
            "examples.transfer_modes",
            "examples.control",
            "examples.demo",
        ),
    ),
    Section(
        "How to",
        (
            "ftpdata.testing",
            "ftpdata.testing.pytest_plugin",
            "ftpdata.objectstore",
            "examples.accounts_sqlite",
            "examples.accounts_ldap",
            "examples.camera_gateway",
            "examples.mainframe",
            "examples.proxy",
            "ftpdata.connection.twisted",
        ),
    ),
    Section(
        "Design",
        ("ftpdata.connection", "ftpdata.codecs", "ftpdata.files", "ftpdata.tls"),
        (
            ("README", "What ftpdata is, a first program, and what it promises."),
            ("Design", "The layers and rooms, and one transfer's life, in pictures."),
        ),
    ),
)
"""The sections before the reference, which has every module."""
