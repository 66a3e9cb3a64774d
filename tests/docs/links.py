"""Looks at the pages of a site: where their links lead, what they load, how large they are."""

from __future__ import annotations

import posixpath
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

__all__ = ["Page", "broken_links", "reachable", "read_pages", "targets"]

_TAGS = frozenset({
    *("a", "body", "blockquote", "br", "code", "dd", "details", "div", "dl", "dt", "em", "footer"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "head", "hr", "html", "img", "input", "label", "li"),
    *("link", "main", "meta", "nav", "ol", "p", "path", "pre", "rect", "script", "section", "span"),
    *("strong", "style", "summary", "svg", "table", "tbody", "td", "text", "th", "thead", "title"),
    *("tr", "ul", "wbr"),
})
"""What pages are made of. Any other tag is a word in angle brackets that nobody sees."""

_LOADING = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """What stands on a page.

    Attributes:
        links: Where its links lead, as they are written.
        anchors: Places to which links may lead.
        loaded: What a browser loads with it, beside what it contains.
        strange: Tags that no page has on purpose.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: Counter[str] = Counter()
        self.loaded: set[str] = set()
        self.strange: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag."""

        values = dict(attrs)
        if tag not in _TAGS:
            self.strange.add(tag)
        if anchor := values.get("id"):
            self.anchors[anchor] += 1
        if tag == "a" and (link := values.get("href")) is not None:
            self.links.add(link)
        if (loaded := values.get(_LOADING.get(tag, ""))) and not loaded.startswith("data:"):
            self.loaded.add(loaded)


def read_pages(directory: Path) -> dict[str, Page]:
    """Return the pages of a site by their path."""

    return {
        path.relative_to(directory).as_posix(): Page(path.read_text("utf-8"))
        for path in sorted(directory.rglob("*.html"))
    }


def _target(path: str, link: str) -> tuple[str, str] | None:
    """Return the page and the anchor to which a link leads; None for another site."""

    if urlsplit(link).scheme:
        return None

    page, anchor = urldefrag(link)
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), page)) if page else path
    return unquote(joined), unquote(anchor)


def targets(pages: dict[str, Page], path: str) -> set[str]:
    """Return where the links of a page lead within the site, as seen from its root."""

    found = (_target(path, link) for link in pages[path].links)
    return {"#".join(target).rstrip("#") for target in found if target is not None}


def broken_links(pages: dict[str, Page]) -> list[str]:
    """Return the links that lead nowhere within the site."""

    broken = []
    for path, page in pages.items():
        for link in sorted(page.links):
            target = _target(path, link)
            if target is None:
                continue
            other = pages.get(target[0])
            if other is None or (target[1] and target[1] not in other.anchors):
                broken.append(f"{path}: {link}")
    return broken


def reachable(pages: dict[str, Page], start: str) -> set[str]:
    """Return the pages to which links lead from one of them, directly or not."""

    found, left = {start}, [start]
    while left:
        path = left.pop()
        new = {target.partition("#")[0] for target in targets(pages, path)} - found
        found |= new
        left += new & pages.keys()
    return found
