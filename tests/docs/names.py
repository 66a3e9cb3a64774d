"""Which page tells of which name.

A name is documented on the page of one module, its home: the public module that defines it, or
else the package that exports it. The pages of the other packages that export it lead there.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from pdoc.doc import Class, Doc, Function, Module

__all__ = ["Member", "Names", "members_of"]

Member = Doc[Any]


def members_of(space: Module | Class) -> Iterator[Member]:
    """Return what the page of a module tells of, or of a class on it."""

    for member in space.own_members:
        if not member.name.startswith("_") or member.name == "__init__":
            yield member
            if isinstance(member, Class):
                yield from members_of(member)


def _classes_of(page: Module) -> list[Class]:
    return [member for member in members_of(page) if isinstance(member, Class)]


class Names:
    """The names of all pages.

    Args:
        pages: The modules, by name. From now on they leave each name to its home, and tell what
            classes have from others that have no page.
    """

    def __init__(self, pages: Mapping[str, Module]) -> None:
        self._pages = pages
        self._exported: dict[str, dict[str, object]] = {
            module: {name: getattr(page.obj, name) for name in vars(page.obj)["__all__"]}
            for module, page in pages.items()
        }
        self._homes: dict[str, set[str]] = {}
        self._places: dict[str, dict[str, Member]] = {}
        for module, page in pages.items():
            own = {name for name in self._exported[module] if self._home_of(module, name) == module}
            page.members = {name: page.members[name] for name in page.members if name in own}
            for name in own:
                self._homes.setdefault(name, set()).add(module)

        for page in pages.values():
            for member in _classes_of(page):
                self._adopt(member)
        for module, page in pages.items():
            self._places[module] = {member.qualname: member for member in members_of(page)}
        for page in pages.values():
            for member in _classes_of(page):
                self._refer(member)

    def _adopt(self, heir: Class) -> None:
        """Let a class tell what it has from classes that have no page."""

        for (module, base), members in [*heir.inherited_members.items()]:
            page = self._pages.get(module)
            if page is None or base not in page.members:
                del heir.inherited_members[module, base]
                if module.startswith("ftpdata."):
                    heir.own_members += members
        heir.bases = [base for base in heir.bases if not base[1].startswith("_")]

    def _refer(self, heir: Class) -> None:
        """Let a class refer to the places of what it has from others, if they have any."""

        for base, members in heir.inherited_members.items():
            heir.inherited_members[base] = kept = [
                member
                for member in members
                if member.taken_from[1] in self._places.get(member.taken_from[0], {})
            ]
            places = self._places[heir.modulename]
            places.update((member.qualname, member) for member in kept)

    def _home_of(self, module: str, name: str) -> str:
        """Return the home of a name that a module exports."""

        value = self._exported[module][name]
        inside = [
            other
            for other, names in self._exported.items()
            if other.startswith(f"{module}.") and name in names and names[name] is value
        ]
        return max([module, *inside], key=lambda other: other.count("."))

    def foreign(self, module: str) -> list[Member]:
        """Return what a module exports that has its home elsewhere, in order.

        A module without a page exports nothing.
        """

        exported = self._exported.get(module, {})
        homes = {name: self._home_of(module, name) for name in exported}
        return [self._places[home][name] for name, home in homes.items() if home != module]

    def importable_from(self, member: Member) -> str:
        """Return the module from which a name is imported with the least to write."""

        home, name = member.modulename, member.qualname
        modules = [
            module
            for module, names in self._exported.items()
            if name in names and self._home_of(module, name) == home
        ]
        return min(modules, key=lambda module: module.count("."))

    def find(self, page: Module, member: Member, text: str) -> tuple[str, str] | None:
        """Return what a docstring means by a name: a module, and the name on its page.

        Args:
            page: The page of the docstring.
            member: Whose docstring it is.
            text: The name, with or without those of its class and modules.
        """

        module = page.modulename
        if text.partition(".")[0] in _parameters_of(member):
            return None

        around = member.qualname
        while around:
            if self._places[module].get(f"{around}.{text}"):
                return module, f"{around}.{text}"
            around = around.rpartition(".")[0]

        for candidate in _modules_near(page, text) if member is page else [text]:
            if candidate in self._pages:
                return None if candidate == module else (candidate, "")

        if member is page:
            within = [name for name in self._places[module] if name.endswith(f".{text}")]
            if len(within) == 1:
                return module, within[0]

        # The name may follow that of its module.
        start, _, name = text.rpartition(".")
        while start:
            if start in self._pages:
                return self._in_module(start, name)
            start, _, last = start.rpartition(".")
            name = f"{last}.{name}"

        home = self._home_near(module, text.partition(".")[0])
        found = None if home is None else self._in_module(home, text)
        return None if found == (module, member.qualname) else found

    def _home_near(self, module: str, name: str) -> str | None:
        """Return the home of a name that is in few homes: in the same package, or anywhere."""

        homes = self._homes.get(name, set())
        package = module
        while package:
            near = [home for home in homes if f"{home}.".startswith(f"{package}.")]
            if near:
                return near[0] if len(near) == 1 else None
            package = package.rpartition(".")[0]

        return min(homes) if len(homes) == 1 else None

    def _in_module(self, module: str, name: str) -> tuple[str, str] | None:
        """Return the place of a name that a module exports, or of a name in that."""

        head = name.partition(".")[0]
        if head not in self._exported[module]:
            return None

        home = self._home_of(module, head)
        if name in self._places[home]:
            return home, name
        # What a class inherits has its place on the page of another, if anywhere.
        return home, head


def _modules_near(page: Module, text: str) -> list[str]:
    """Return the modules that the docstring of a module may mean by a name."""

    near, module = [text], page.modulename
    if page.is_package:
        near.append(f"{module}.{text}")
    while module := module.rpartition(".")[0]:
        near.append(f"{module}.{text}")
    return near


def _parameters_of(member: Member) -> set[str]:
    """Return the names of the arguments: those have no page."""

    function = member.get("__init__") if isinstance(member, Class) else member
    if not isinstance(function, Function):
        return set()

    try:
        return {*inspect.signature(function.obj).parameters}
    except (TypeError, ValueError):
        return set()
