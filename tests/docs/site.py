"""Makes the site of the reference with pdoc.

It has a page for each public module, for each example, for README.md and the documents to which
that leads, and for the design, and a start page that leads to all of them. Nothing is loaded from
elsewhere.
"""

from __future__ import annotations

import functools
import json
import re
import types
from pathlib import Path, PurePosixPath
from unittest import mock

import pygments
from pdoc import render
from pdoc.doc import Module
from pdoc.docstrings import convert
from pdoc.render_helpers import to_html
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from tests.docs import docstrings
from tests.docs.documents import read_documents
from tests.docs.house import draw_house
from tests.docs.life import draw_life
from tests.docs.modules import docstring_of, example_modules, path_of, public_modules
from tests.docs.names import Member, Names, members_of
from tests.docs.start import SECTIONS

__all__ = ["build"]

TEMPLATES = Path(__file__).with_name("templates")

_FAVICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Cpath d='M5 14V4L2 7M11 2v10l3-3' fill='none' stroke='%233660a5' stroke-width='2'/%3E"
    "%3C/svg%3E"
)
"""What a browser shows beside the title: an arrow up and one down."""

_TARGET = re.compile(r'href="ref/([\w.]+)(#[\w.]*)?"')
"""The address of a name wherever it is told of, until a page is written: ``ref/MODULE#NAME``."""

_TYPE = re.compile(r'(<a href="[^"]*#[\w.]+">)ftpdata\.(?:[a-z]\w*\.)*([A-Z][\w.]*</a>)')
"""A type in a signature, with the modules before its name; the link leads to them."""


def build(directory: Path) -> None:
    """Write the site into a directory."""

    pages = {name: Module.from_name(name) for name in public_modules()}
    pages |= {name: _guide(name) for name in example_modules()}
    names = Names(pages)
    for name, page in pages.items():
        page.submodules = [pages[other] for other in pages if other.rpartition(".")[0] == name]
        members: list[Member] = [page, *members_of(page)]
        for member in members:
            member.docstring = docstrings.to_markdown(
                member.docstring, functools.partial(_address, names, page, member)
            )

    render.configure(
        docformat="google", show_source=False, template_directory=TEMPLATES, favicon=_FAVICON
    )
    dark_code = HtmlFormatter(style="github-dark").get_style_defs(".pdoc-code")
    render.env.globals.update(
        names=names,
        dark_code=dark_code,
        program_of=_program_of,
        first_sentence=_first_sentence,
        sections=SECTIONS,
        house=draw_house(has_links=True),
        life=draw_life(has_links=True),
    )
    for name, page in pages.items():
        _write(directory, _path_of_page(name), render.html_module(page, pages))

    documents = read_documents()
    values = {"all_modules": pages, "root_module_name": "", "documents": documents}
    for name in ("index", "design"):
        html = render.env.get_template(f"{name}.html.jinja2").render(values)
        _write(directory, PurePosixPath(f"{name}.html"), html)
    template = render.env.get_template("document.html.jinja2")
    for document in documents:
        html = template.render(values, document=document)
        _write(directory, PurePosixPath(f"{document.name}.html"), html)

    # A browser makes the index in the time in which it loads one that pdoc makes, of four times the
    # length.
    with mock.patch.object(render, "precompile_index", lambda documents, _: json.dumps(documents)):
        sections = {document.name: document.for_search() for document in documents}
        found = render.search_index(pages | sections)
    # Results are shown on pages in every directory: what is quoted there has no relative links.
    found = re.sub(r'<a href=\\"ref/[^>]*>(.*?)</a>', r"\1", found)
    (directory / "search.js").write_text(found, "utf-8")


def _guide(name: str) -> Module:
    """Return the page of an example: what its docstring says, and the program.

    It is not imported: some need packages that not every machine has.
    """

    path = path_of(name)
    module = types.ModuleType(name)
    module.__file__ = str(path)
    if path.name == "__init__.py":
        module.__path__ = [str(path.parent)]
    vars(module)["__all__"] = []
    page = Module(module)
    page.docstring = docstring_of(name)
    return page


def _program_of(page: Module) -> str:
    """Return the source of an example, as HTML; nothing for what is imported, and for a guide."""

    if page.is_package or not page.modulename.startswith("examples."):
        return ""

    formatter = HtmlFormatter(cssclass="pdoc-code")
    return str(pygments.highlight(page.source, PythonLexer(), formatter))


def _first_sentence(member: Member) -> str:
    """Return the first paragraph of a docstring, as HTML."""

    first, _, _ = member.docstring.partition("\n\n")
    return str(to_html(convert(first, "google", None)))


def _address(names: Names, page: Module, member: Member, text: str) -> str | None:
    place = names.find(page, member, text)
    return None if place is None else f"ref/{'#'.join(place).rstrip('#')}"


def _path_of_page(module: str) -> PurePosixPath:
    return PurePosixPath(f"{module.replace('.', '/')}.html")


def _write(directory: Path, path: PurePosixPath, html: str) -> None:
    """Write a page, with the addresses of names as they are from there."""

    def relative(found: re.Match[str]) -> str:
        module, anchor = found.groups()
        target = "../" * (len(path.parts) - 1) + str(_path_of_page(module))
        return f'href="{target}{anchor or ""}"'

    file = directory / path
    file.parent.mkdir(parents=True, exist_ok=True)
    html = re.sub(r'<h6 id="[^"]*">', "<h6>", _TYPE.sub(r"\1\2", html))
    file.write_text(_TARGET.sub(relative, html), "utf-8")
