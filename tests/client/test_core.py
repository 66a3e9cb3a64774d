"""The core stays small enough to be copied, and needs nothing else of the examples."""

from __future__ import annotations

import ast
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "examples" / "client"
CORE = ("client", "replies")


def test_core_has_at_most_500_lines() -> None:
    """Comments and blank lines count, too."""

    lines = [line for name in CORE for line in (CLIENT / f"{name}.py").read_text().splitlines()]
    assert len(lines) <= 500


def test_core_needs_only_itself() -> None:
    """Whoever copies it takes two files."""

    for name in CORE:
        for node in ast.walk(ast.parse((CLIENT / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("examples"):
                assert node.module in {f"examples.client.{other}" for other in CORE}


def test_client_uses_the_public_interface_only() -> None:
    """No module that begins with an underscore is imported from ftpdata."""

    for path in CLIENT.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ftpdata"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                assert not [name for name in names if name.startswith("_")], path
