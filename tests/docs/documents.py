"""The documents of the site that are no docstrings: README.md, and those to which it leads."""

from __future__ import annotations

import inspect
import posixpath
import re
import types
from pathlib import Path

import attrs
from pdoc.doc import Module, Variable
from pdoc.docstrings import convert
from pdoc.render_helpers import to_html

from tests.docs.modules import ROOT, documented, path_of

__all__ = ["README", "Document", "read_documents"]

README = "README.md"

_LINK = re.compile(r'<a href="(?!\w+:)([^"#]+)(#[^"]*)?">(.*?)</a>', re.DOTALL)


@attrs.frozen
class Document:
    """A document.

    Attributes:
        path: Where it is in the repository.
        title: Its heading.
        html: What its page shows.
        contents: Its headings with links to them, as HTML.
        sections: The anchor and the text of each section.
    """

    path: str
    title: str
    html: str
    contents: str
    sections: dict[str, str]

    @property
    def name(self) -> str:
        """The name of its page."""

        return _name(self.path)

    def tables_of(self, anchor: str) -> str:
        """Return the tables of a section, as HTML."""

        section = self.html.partition(f'<h2 id="{anchor}"')[2].partition("<h2")[0]
        return "".join(re.findall(r"<table>.*?</table>", section, re.DOTALL))

    def for_search(self) -> Module:
        """Return its sections as the names of a module, which the search can find."""

        module = types.ModuleType(self.name)
        vars(module)["__all__"] = []
        page = Module(module)
        page.members = {
            anchor: Variable(
                self.name,
                anchor,
                docstring=text,
                annotation=inspect.Parameter.empty,
                default_value=inspect.Parameter.empty,
                taken_from=(self.name, anchor),
            )
            for anchor, text in self.sections.items()
        }
        return page


def read_documents() -> list[Document]:
    """Return the documents, the README first."""

    readme = (ROOT / README).read_text("utf-8")
    linked = dict.fromkeys(re.findall(r"\]\(([\w./]+\.md)", readme))
    return [_read(path) for path in [README, *linked]]


def _name(path: str) -> str:
    return Path(path).stem.lower()


def _read(path: str) -> Document:
    source = ROOT / path
    # What stands in angle brackets and is no tag is shown.
    text = re.sub(r"<(?=[A-Z])", "&lt;", source.read_text("utf-8"))
    html = to_html(convert(text, "markdown", source))
    homes = {path_of(module).relative_to(ROOT).as_posix(): module for module in documented()}

    def led_to_page(found: re.Match[str]) -> str:
        link, anchor, words = found.groups(default="")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
        if file in homes:
            return f'<a href="ref/{homes[file]}">{words}</a>'
        if file.endswith(".md"):
            return f'<a href="{_name(file)}.html{anchor}">{words}</a>'
        # What has no page has a name in the repository.
        assert (ROOT / file).exists(), file
        return words

    anchors = re.findall(r'<h2 id="([^"]+)"', html)
    heading, *sections = re.split(r"^## .*\n", text, flags=re.MULTILINE)
    return Document(
        path,
        heading.partition("\n")[0].removeprefix("# "),
        _LINK.sub(led_to_page, html),
        getattr(html, "toc_html", ""),
        dict(zip(anchors, sections, strict=True)),
    )
