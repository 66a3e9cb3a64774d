"""The site: a page for each module, links that lead somewhere, nothing too large."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.links import Page, broken_links, reachable, targets
from tests.docs.modules import documented

MOST_BYTES = 300 * 1024
SURFACE = Path(__file__).parents[1] / "surface.txt"


def path_of(module: str) -> str:
    """Return the path of a module's page."""

    return f"{module.replace('.', '/')}.html"


def test_every_module_has_a_page(pages: dict[str, Page]) -> None:
    """So have the documents and the design, and the start page leads to all of them."""

    expected = {path_of(module) for module in documented()}
    assert {"ftpdata/testing/pytest_plugin.html", "examples/server/session.html"} <= expected
    assert {"examples/minimal_server.html", "examples/server.html"} <= expected
    documents = {"readme.html", "promises.html", "clients.html", "servers.html", "results.html"}
    assert {*pages} == expected | documents | {"index.html", "design.html"}
    assert {*pages} <= reachable(pages, "index.html")


def test_every_example_is_on_the_start_page(pages: dict[str, Page]) -> None:
    """Whoever adds an example says who it is for."""

    examples = {path_of(module) for module in documented() if module.count(".") == 1}
    assert examples - targets(pages, "index.html") == set()


def test_every_public_name_has_its_place(pages: dict[str, Page]) -> None:
    """The page of each module has each name that it exports, told there or leading there."""

    missing = []
    for line in SURFACE.read_text("utf-8").splitlines():
        module, _, names = line.partition(": ")
        anchors = pages[path_of(module)].anchors
        missing += [f"{module}.{name}" for name in names.split() if name not in anchors]
    assert missing == []


def test_every_link_leads_somewhere(pages: dict[str, Page]) -> None:
    """Each leads to a page, and to a place on it, that exist."""

    assert broken_links(pages) == []
    assert not [path for path, page in pages.items() if any("ref/" in link for link in page.links)]


def test_every_place_is_there_once(pages: dict[str, Page]) -> None:
    """No page has two places of one name."""

    twice = {
        f"{path}#{anchor}"
        for path, page in pages.items()
        for anchor, count in page.anchors.items()
        if count > 1
    }
    assert twice == set()


def test_nothing_is_loaded(pages: dict[str, Page]) -> None:
    """Everything that a page shows stands in it."""

    assert {path: page.loaded for path, page in pages.items() if page.loaded} == {}


def test_no_word_is_taken_for_a_tag(pages: dict[str, Page]) -> None:
    """What docstrings have in angle brackets is shown."""

    assert {path: page.strange for path, page in pages.items() if page.strange} == {}


def test_no_page_is_large(site: Path) -> None:
    """A page loads at once everywhere. The data of the search are loaded when it begins."""

    sizes = {path.name: path.stat().st_size for path in site.rglob("*") if path.is_file()}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {
        "search.js": sizes["search.js"]
    }
    assert sizes["search.js"] < 2 * 1024 * 1024


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("ftpdata.html", "ftpdata/opening/endpoint.html#Endpoint"),
        ("ftpdata/transfers.html", "ftpdata/errors.html#FTPDataError.reply"),
        ("ftpdata/transfers/sending.html", "ftpdata/errors.html#SizeMismatch"),
        ("ftpdata/transfers/sending.html", "ftpdata.html#send_file"),
        ("ftpdata/listing/unix.html", "ftpdata/listing.html#NamePolicy"),
        ("ftpdata/testing/pytest_plugin.html", "ftpdata/testing/leaks.html#LeakCheck"),
        ("examples/server.html", "examples/server/telnet.html"),
        ("examples/minimal_server.html", "ftpdata/deadlines.html#Deadlines"),
        ("design.html", "ftpdata/opening.html"),
        ("readme.html", "promises.html#security"),
        ("readme.html", "examples/server/accounts.html"),
        ("index.html", "ftpdata/tls.html"),
        ("design.html", "examples/server/commands/transfers.html"),
    ],
)
def test_a_name_leads_to_its_home(pages: dict[str, Page], page: str, link: str) -> None:
    """In texts, in signatures and in the pictures."""

    assert link in targets(pages, page)


def test_a_link_that_leads_nowhere_is_found() -> None:
    """So are a missing page and a missing place; other sites are not looked at."""

    pages = {
        "a/b.html": Page('<a href="../c.html#d"></a><a href="#no"></a><a href="e.html"></a>'),
        "c.html": Page('<i id="d"></i><a href="https://example.org/"></a><img src="x.png">'),
    }
    assert broken_links(pages) == ["a/b.html: #no", "a/b.html: e.html"]
    assert pages["c.html"].loaded == {"x.png"}
    assert pages["c.html"].strange == {"i"}
    assert reachable(pages, "c.html") == {"c.html"}
    assert reachable(pages, "a/b.html") >= {*pages}
