"""Tells libFuzzer which branches of ftpdata an input reaches.

Atheris calls a native function at each branch and each comparison, which takes 300 ns, and so
most of the time of a decoder. Here a branch adds 1 to a byte that libFuzzer reads itself, which
takes 50 ns. Comparisons are not traced: nearly all of those in ftpdata are with single bytes,
which a fuzzer guesses.
"""

from __future__ import annotations

import ast
import ctypes
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Self

__all__ = ["Tracing"]

COUNTERS = "_fuzz_counters"
NEXT = "_fuzz_next"
NEXT_COUNT = bytes((*range(1, 256), 255))
MOST_BRANCHES = 16 * 1024
IS_FUNCTION = 1
"""A flag of libFuzzer's table: the branch is the entry of a function."""


class Tracing:
    """Traces the branches of modules that are imported while it is entered.

    Args:
        package: Name of the package.
    """

    def __init__(self, package: str) -> None:
        self.counters = bytearray(MOST_BRANCHES)
        self.entries: list[bool] = []
        self._finder = _Finder(self, package)

    def __enter__(self) -> Self:
        sys.meta_path.insert(0, self._finder)
        return self

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self._finder)

    def new_counter(self, *, is_entry: bool) -> int:
        """Return the number of a new counter."""

        self.entries.append(is_entry)
        assert len(self.entries) <= MOST_BRANCHES
        return len(self.entries) - 1

    def register(self, library: Path) -> None:
        """Give the counters to libFuzzer, before it starts."""

        count = len(self.entries)
        fuzzer = ctypes.CDLL(str(library))
        start = ctypes.addressof((ctypes.c_uint8 * MOST_BRANCHES).from_buffer(self.counters))
        # For each counter an address, which need only be unique, and flags.
        self._table = (ctypes.c_size_t * (2 * count))()
        for i, is_entry in enumerate(self.entries):
            self._table[2 * i] = start + i
            self._table[2 * i + 1] = IS_FUNCTION if is_entry else 0

        table = ctypes.addressof(self._table)
        for function, begin, end in (
            ("__sanitizer_cov_8bit_counters_init", start, start + count),
            ("__sanitizer_cov_pcs_init", table, table + ctypes.sizeof(self._table)),
        ):
            getattr(fuzzer, function)(ctypes.c_void_p(begin), ctypes.c_void_p(end))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, tracing: Tracing, package: str) -> None:
        self._tracing = tracing
        self._package = package

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != self._package:
            return None

        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path, self._tracing)

        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, tracing: Tracing) -> None:
        super().__init__(fullname, path)
        self._tracing = tracing

    def get_code(self, fullname: str) -> types.CodeType:
        # Never from a file of byte code, and never into one.
        tree = ast.parse(self.get_data(self.path), self.path)
        _Counting(self._tracing).visit(tree)
        return compile(ast.fix_missing_locations(tree), self.path, "exec", dont_inherit=True)

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module)[COUNTERS] = self._tracing.counters
        vars(module)[NEXT] = NEXT_COUNT
        super().exec_module(module)


class _Counting(ast.NodeTransformer):
    """Adds a counter to each branch within a function."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._depth = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._depth += 1
        for i, statement in enumerate(node.body):
            node.body[i] = self.visit(statement)

        self._depth -= 1
        node.body.insert(0, self._count(is_entry=True))
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        return self._with_branches(node, "body", "orelse")

    def visit_For(self, node: ast.For) -> ast.AST:
        return self._with_branches(node, "body", "orelse")

    def visit_While(self, node: ast.While) -> ast.AST:
        return self._with_branches(node, "body", "orelse")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        return self._with_branches(node, "body")

    def visit_match_case(self, node: ast.match_case) -> ast.AST:
        return self._with_branches(node, "body")

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        if self._depth:
            node.body = self._counted(node.body)
            node.orelse = self._counted(node.orelse)

        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if self._depth:
            node.values[1:] = map(self._counted, node.values[1:])

        return node

    def _with_branches(self, node: ast.AST, *names: str) -> ast.AST:
        self.generic_visit(node)
        if self._depth:
            for name in names:
                getattr(node, name).insert(0, self._count())

        return node

    def _count(self, *, is_entry: bool = False) -> ast.stmt:
        at = f"{COUNTERS}[{self._tracing.new_counter(is_entry=is_entry)}]"
        return ast.parse(f"{at} = {NEXT}[{at}]").body[0]

    def _counted(self, value: ast.expr) -> ast.expr:
        number = self._tracing.new_counter(is_entry=False)
        counted = ast.parse(f"{COUNTERS}.__setitem__({number}, 1) or 0", mode="eval").body
        assert isinstance(counted, ast.BoolOp)
        counted.values[1] = value
        return counted
