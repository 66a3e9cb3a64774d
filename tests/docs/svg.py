"""A drawing as SVG, in the colours of a light or a dark page."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

__all__ = ["Drawing"]

_LIGHT = {
    "paper": "#ffffff",
    "ink": "#212529",
    "faint": "#5c636a",
    "line": "#6c757d",
    "packages": "#f3f0e6",
    "pure": "#e6f3e9",
    "asyncio": "#e7eefa",
    "support": "#f9ece2",
}
_DARK = {
    "paper": "#212529",
    "ink": "#e9ecef",
    "faint": "#adb5bd",
    "line": "#868e96",
    "packages": "#34322a",
    "pure": "#23382a",
    "asyncio": "#24314a",
    "support": "#43322a",
}

_STYLE = """
.picture{%s}
@media(prefers-color-scheme:dark){.picture{%s}}
.picture text{fill:var(--ink);font:13px system-ui,sans-serif}
.picture .faint{fill:var(--faint);font-size:11.5px}
.picture .name{font-weight:600}
.picture .code{font:12px ui-monospace,monospace}
.picture .box{fill:var(--paper);stroke:var(--line)}
.picture .arrow{fill:none;stroke:var(--line);stroke-width:1.3}
.picture .head{fill:var(--line)}
.picture a:hover .box{stroke-width:2}
"""


def _colours(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{colour}" for name, colour in colours.items())


class Drawing:
    """A drawing to which things are added.

    Args:
        title: What it shows, for those who do not see it.
        width: In pixels.
        height: In pixels.
        has_links: Whether what is on it leads to pages of the site.
    """

    def __init__(self, title: str, width: int, height: int, *, has_links: bool) -> None:
        self._has_links = has_links
        style = _STYLE % (_colours(_LIGHT), _colours(_DARK))
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
            f'class="picture" role="img" aria-label={quoteattr(title)}>',
            f"<style>{style}</style>",
        ]
        self.area("paper", 0, 0, width, height)

    def area(self, kind: str, x: float, y: float, width: float, height: float) -> None:
        """Add an area in the colour of a layer."""

        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"'
            f' style="fill:var(--{kind})"/>'
        )

    def box(self, x: float, y: float, width: float, height: float, *, note: str = "") -> None:
        """Add a box, with a note that is shown where the pointer is."""

        noted = f"<title>{escape(note)}</title>" if note else ""
        self._parts.append(
            f'<rect class="box" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4">'
            f"{noted}</rect>"
        )

    def text(self, x: float, y: float, text: str, *, kind: str = "", anchor: str = "") -> None:
        """Add a line of text; `kind` is name, code, faint, or nothing."""

        classes = f' class="{kind}"' if kind else ""
        anchored = f' text-anchor="{anchor}"' if anchor else ""
        self._parts.append(f'<text x="{x:g}" y="{y:g}"{classes}{anchored}>{escape(text)}</text>')

    def arrow(self, points: list[tuple[float, float]]) -> None:
        """Add an arrow downwards, from point to point, in a smooth line."""

        (x, y), *others = points
        path = f"M{x:g} {y:g}"
        for to_x, to_y in others:
            middle = (y + to_y) / 2
            path += f"C{x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {to_y:g}"
            x, y = to_x, to_y
        self._parts.append(f'<path class="arrow" d="{path}"/>')
        self._parts.append(f'<path class="head" d="M{x - 4:g} {y - 7:g}h8L{x:g} {y:g}z"/>')

    def begin_link(self, page: str) -> None:
        """Let what follows lead to the page of a module, if it has one."""

        if self._has_links and page:
            self._parts.append(f'<a href="ref/{page}">')

    def end_link(self, page: str) -> None:
        """End what leads there."""

        if self._has_links and page:
            self._parts.append("</a>")

    def __str__(self) -> str:
        return "\n".join([*self._parts, "</svg>\n"])
