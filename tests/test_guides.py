"""The examples in docstrings that are guides run as they are, and their commands exist."""

from __future__ import annotations

import ast
import asyncio
import functools
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys

import attrs
import pytest

# Its descriptors last as long as the process: no test is to be the first to use it.
import twisted.internet.reactor  # noqa: F401

import ftpdata
from tests.docs.docstrings import literal_blocks
from tests.docs.modules import ROOT, docstring_of, documented
from tests.harness.obstores import start_runtime
from tests.harness.packages import skip_without

# The first import of the reactor makes it, for good: it must not look like what a test has left.
importlib.import_module("twisted.internet.reactor")

MODULES = documented()
KEEPS_OBJECTS = {"examples.camera_gateway", "examples.mirror_to_store"}
"""Programs that need the package of object stores."""

INSIDE = pkgutil.iter_modules(ftpdata.__path__)
PACKAGES = sorted(f"ftpdata.{module.name}" for module in INSIDE if module.ispkg)


def examples(module: str) -> list[str]:
    """Return the programs in a module's docstring: the literal blocks that begin with an import.

    Other literal blocks are fragments, commands or drawings.
    """

    blocks = literal_blocks(docstring_of(module))
    return [block for block in blocks if block.startswith(("import ", "from "))]


@pytest.fixture(scope="module", autouse=True)
def runtime() -> None:
    """Let no test be the first to use obstore."""

    start_runtime()


@pytest.mark.parametrize("module", [module for module in MODULES if examples(module)])
def test_the_examples_of_a_guide_run(module: str) -> None:
    """They run in order and may await; a later one may use the names of an earlier one."""

    names: dict[str, object] = {"__name__": module}
    for number, example in enumerate(examples(module), 1):
        title = f"<example {number} of {module}>"
        code = compile(example, title, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        done = eval(code, names)
        if inspect.iscoroutine(done):
            asyncio.run(done)


def test_a_guide_has_an_example() -> None:
    """Each sub-package shows a program; the guide of the transfers continues one of a server."""

    shown = {module for module in MODULES if examples(module)}
    assert {*PACKAGES, "ftpdata.objectstore"} - {"ftpdata.transfers"} <= shown


# Commands

COMMAND = re.compile(r"python -m ([\w.]+)(.*?)(?=`|\n\n|python -m|&&|\Z)", re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")


@attrs.frozen
class Command:
    """A command that a guide shows.

    Attributes:
        guide: The module whose docstring it stands in, or README.md.
        module: The module that it runs.
        arguments: What follows.
    """

    guide: str
    module: str
    arguments: str

    def __str__(self) -> str:
        return f"{self.guide}: {self.module} {self.arguments}".rstrip()

    @property
    def options(self) -> set[str]:
        """The options that it uses."""

        return {*OPTION.findall(self.arguments)}

    @property
    def sessions(self) -> set[str]:
        """The sessions of nox that it runs."""

        return {*self.arguments.partition(" -- ")[0].removeprefix("-s").split()}


def commands(guide: str, text: str) -> list[Command]:
    """Return the commands that a text shows, each once."""

    found = COMMAND.findall(text)
    return [*dict.fromkeys(Command(guide, name, " ".join(rest.split())) for name, rest in found)]


README = commands("README.md", (ROOT / "README.md").read_text("utf-8"))
SHOWN = [*(command for module in MODULES for command in commands(module, docstring_of(module)))]


@functools.cache
def help_of(module: str, *words: str) -> str:
    """Return what a program says of its options."""

    done = subprocess.run(
        [sys.executable, "-m", module, *words, "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def unknown_options(command: Command) -> set[str]:
    """Return the options of a command that its program does not have."""

    said = help_of(command.module)
    choices = re.search(r"\{([\w,-]+)\}", said)
    first, *_ = [*command.arguments.split(), ""]
    if choices and first in choices[1].split(","):
        said += help_of(command.module, first)
    return command.options - {*OPTION.findall(said)}


@pytest.mark.parametrize("command", [*SHOWN, *README], ids=str)
def test_a_command_runs_what_there_is(command: Command) -> None:
    """Its module exists, and has the options; a session of nox exists."""

    if command.module == "nox":
        assert command.sessions <= sessions()
    elif command.module != "pip":
        assert importlib.util.find_spec(command.module) is not None
        if command.module in KEEPS_OBJECTS:
            skip_without("obstore")
        if command.options and command.module.startswith(("examples.", "ftpdata.")):
            assert unknown_options(command) == set()


def sessions() -> set[str]:
    """Return the names of the sessions of nox."""

    body = ast.parse((ROOT / "noxfile.py").read_text("utf-8")).body
    decorated = [
        (item.name, ast.unparse(decorator))
        for item in body
        if isinstance(item, ast.FunctionDef)
        for decorator in item.decorator_list
    ]
    named = {name: re.search(r"name='(\w+)'", text) for name, text in decorated}
    return {name if found is None else found[1] for name, found in named.items()}


def test_an_option_that_is_no_more_is_found() -> None:
    """It is one of the program, or of a command of the program. So is a session of nox."""

    (command,) = commands("", "``python -m examples.client get URL [--nonesuch]``, and --more")
    assert command.arguments == "get URL [--nonesuch]"
    assert unknown_options(command) == {"--nonesuch"}
    (command,) = commands("", "python -m examples.server DIRECTORY --port 2121")
    assert unknown_options(command) == set()
    (command,) = commands("", "python -m nox -s lint nonesuch -- --help")
    assert command.sessions - sessions() == {"nonesuch"}
