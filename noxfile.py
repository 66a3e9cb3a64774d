"""The commands of the project; ``nox --list`` lists them.

Dependencies, and the Pythons that are supported, stand in pyproject.toml alone.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests", "lint", "typing"]
nox.options.reuse_venv = "yes"
# Not every machine has every Python: a missing one is shown as skipped. The Python that runs nox
# is always there, and always tested.
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
PYTHONS = nox.project.python_versions(PROJECT)
if HERE not in PYTHONS:
    PYTHONS.append(HERE)

if sys.version_info < (3, 11):  # noqa: UP036 - nox may run on any Python
    sys.exit(f"ftpdata needs Python 3.11 or later, and nox runs on {HERE}: try python3.11 -m nox")


def _select_all_of_pyenv() -> None:
    """Let pyenv's shims run every Python that pyenv has, the selected one first."""

    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    if "PYENV_VERSION" in os.environ or not root.is_dir():
        return

    installed = sorted(path.name for path in root.iterdir() if path.name[:1].isdigit())
    selected = [name for name in installed if sys.base_prefix == str(root / name)]
    others = [name for name in installed if name.rpartition(".")[0] in PYTHONS]
    os.environ["PYENV_VERSION"] = ":".join(dict.fromkeys([*selected, *others]))


_select_all_of_pyenv()


def _install(session: nox.Session, *groups: str) -> None:
    """Install the package from this directory, and dependency groups of pyproject.toml."""

    session.install("-e", ".", *nox.project.dependency_groups(PROJECT, *groups))


def _test(session: nox.Session, *options: str) -> None:
    """Run the tests on every core with `options`, or only those that the command line names."""

    session.run("pytest", *(session.posargs or ("-n", "auto", *options)))


def _share(part: int) -> str:
    """Name one of 95 parts of the tests, each with tests of every file.

    An odd number, since the tests of one loop alternate with those of the other; and one that
    leaves half a minute of them for each Python.
    """

    return f"--share={part}/95"


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the Python that runs nox, on both event loops; measure their coverage.

    Lines are counted on asyncio, in the tests of the modules themselves: it makes them take three
    times as long. What runs on uvloop is the same, and so is what whole servers run.
    """

    _install(session, "test")
    session.run("coverage", "erase")
    others = "end_to_end or uvloop"
    arguments = session.posargs or ("-n", "auto", "-m", f"not ({others})")
    session.run("coverage", "run", "-m", "pytest", *arguments)
    session.run("coverage", "combine", "--quiet")
    if session.posargs:
        # A few tests cover little.
        return

    session.run("pytest", "-n", "auto", "-m", others)
    if sys.platform == "linux":
        # The fast paths run only here.
        pure = PROJECT["tool"]["ftpdata"]["layers"]["pure"]
        modules = ",".join(f"ftpdata/{module.replace('.', '/')}.py" for module in pure)
        session.run("coverage", "report")
        session.run("coverage", "report", f"--include={modules}", "--fail-under=100")


@nox.session(python=PYTHONS)
def sample(session: nox.Session) -> None:
    """Run a part of the tests, another one on each supported Python: some of every file."""

    _install(session, "test")
    _test(session, _share(PYTHONS.index(str(session.python)) + 1))


@nox.session(name="all", python=PYTHONS)
def everything(session: nox.Session) -> None:
    """Run all tests on every supported Python."""

    _install(session, "test")
    _test(session)


@nox.session(python="pypy3")
def pypy(session: nox.Session) -> None:
    """Run the tests on PyPy, but those that need what only CPython has: they are skipped.

    They take an hour of two cores, most of which PyPy compiles. The newest Hypothesis would have to
    be built, which takes a compiler of Rust: an older one is installed.
    """

    session.env["PIP_ONLY_BINARY"] = "hypothesis"
    _install(session, "test")
    _test(session, "--loop=asyncio")


@nox.session(python=PYTHONS)
def package(session: nox.Session) -> None:
    """Build twice, compare, install the wheel with nothing but its dependencies, and try it.

    The sdist and the wheel stay in the session's directory for temporary files.
    """

    session.install(*nox.project.dependency_groups(PROJECT, "build"))
    shutil.rmtree(session.create_tmp())
    built = Path(session.create_tmp())
    session.run("python", "-m", "tests.harness.builds", str(built))
    clean = built / "clean"
    session.run("python", "-m", "venv", "--without-pip", str(clean))
    python = str(clean / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    (wheel,) = built.glob("*.whl")
    session.run("python", "-m", "pip", "--python", python, "install", "--quiet", str(wheel))
    # Isolated, so that it is not this directory that is tried.
    session.run(python, "-I", "-m", "ftpdata", external=True)


@nox.session
def oldest(session: nox.Session) -> None:
    """Run the tests with the oldest versions of the dependencies that pyproject.toml allows."""

    _install(session, "test")
    session.install(*(name.replace(">=", "==") for name in PROJECT["project"]["dependencies"]))
    _test(session, "--loop=asyncio")


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style."""

    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", *session.posargs)


@nox.session
def typing(session: nox.Session) -> None:
    """Check all types strictly, and that the public interface is fully annotated."""

    _install(session, "typing")
    session.run("mypy")
    session.run("pyright", "--verifytypes", "ftpdata", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """Make the site of the reference in site/, and look at it: at every link, and in Chromium.

    Without Chromium and its driver, the tests that need them are skipped. ``python -m tests.docs
    --pictures`` draws the pictures of the design anew.
    """

    _install(session, "docs")
    site = ROOT / "site"
    shutil.rmtree(site, ignore_errors=True)
    session.run("python", "-m", "tests.docs", str(site))
    screenshots = Path(session.create_tmp(), "screenshots")
    where = ("--site", str(site), "--screenshots", str(screenshots))
    session.run("pytest", "tests/docs", *where, *session.posargs)
    session.log(f"open {site / 'index.html'}; screenshots are in {screenshots}")


@nox.session
def interop(session: nox.Session) -> None:
    """Run the installed FTP clients against the reference server.

    Their results must agree with the tables in tests/interop; ``-- --write-table`` rewrites them.
    ``-- tests/interop/test_objectstore.py --attempts 200`` cancels and resets more uploads into
    object stores.
    """

    _install(session, "test", "stores", "deploy")
    # It has to be compiled. Without it, the tests of LDAP are skipped, or fail where every client
    # and server is required.
    session.install(*nox.project.dependency_groups(PROJECT, "ldap"), success_codes=[0, 1])
    files = any(argument.startswith("tests/interop") for argument in session.posargs)
    where = () if files else ("tests/interop",)
    session.run("pytest", *where, "-n", "auto", *session.posargs)


@nox.session
def mutations(session: nox.Session) -> None:
    """Delete each security check of the data connection in turn: a test must notice."""

    _install(session, "test")
    session.run("python", "-m", "tests.mutations", *session.posargs)


@nox.session
def attacks(session: nox.Session) -> None:
    """Attack data connections by the thousand: ``nox -s attacks -- [NAME...]``.

    Each run prints the promised and the measured figures, and fails if a promise is broken.
    """

    _install(session, "test")
    runs = ("theft", "targets", "ports", "leavers", "wakeups", "stalled")
    for name in session.posargs or runs:
        session.run("python", "-m", f"tests.benchmarks.{name}")


@nox.session
def torture(session: nox.Session) -> None:
    """Let every call that may fail do so, one by one: ``nox -s torture -- --help``.

    Then with few descriptors, and with little space on the disk. The tests run a sample of it,
    another one with each change of the sources. All of it takes an hour; ``-- --scenario stor
    --loop uvloop`` takes a part of that.
    """

    _install(session, "test")
    session.run("python", "-m", "tests.torture", *session.posargs)


@nox.session
def sweeps(session: nox.Session) -> None:
    """Cancel whole sessions at every moment in every way, and shuffle them under 100 seeds."""

    _install(session, "test")
    options = session.posargs or ("--all-sweeps", "--seeds", "100")
    session.run("pytest", "tests/sweeps", "-n", "auto", *options)


@nox.session
def walk(session: nox.Session) -> None:
    """Walk at random through sessions: ``nox -s walk -- [STEPS]``, 100,000 by default.

    ``--hypothesis-seed`` after the steps walks another way.
    """

    _install(session, "test")
    steps, *options = session.posargs or ["100000"]
    session.run("pytest", "tests/walk", "-n", "auto", "--steps", steps, *options)


@nox.session
def soak(session: nox.Session) -> None:
    """Let clients work against a server for long: ``nox -s soak -- [MINUTES]``, 60 by default."""

    _install(session, "test")
    session.run("python", "-m", "tests.soak", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz every parser and decoder: ``nox -s fuzz -- [SECONDS FOR EACH [HARNESS...]]``.

    Inputs that reach new code are kept below .nox, for the next run, and so is an input that
    fails. Add it to the corpus together with the repair.
    """

    _install(session, "fuzz")
    seconds, *names = session.posargs or ["60"]
    corpus = ROOT / "tests" / "fuzz" / "corpus"
    found = Path(session.create_tmp())
    for name in names or sorted(path.name for path in corpus.iterdir()):
        (found / name).mkdir(exist_ok=True)
        session.run(
            *("python", "-m", "tests.fuzz", name),
            *(f"-max_total_time={seconds}", "-max_len=512", "-timeout=10", "-rss_limit_mb=1024"),
            *("-verbosity=0", "-print_final_stats=1", f"-artifact_prefix={found / name}-"),
            *(str(found / name), str(corpus / name)),
        )


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the reference server and others side by side: ``nox -s bench -- --help``.

    vsftpd and pure-ftpd take part if they are installed. The whole benchmark takes half an hour;
    ``-- --quick`` takes minutes.
    """

    _install(session, "bench")
    session.run("python", "-m", "tests.benchmarks", *session.posargs)


@nox.session
def stores(session: nox.Session) -> None:
    """Measure an object store behind ftpdata, and beside obstore alone: ``-- [ROUNDS]``."""

    _install(session, "test", "stores")
    session.run("python", "-m", "tests.benchmarks.objects", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Show real transfers between the reference server and Python's own ftplib."""

    _install(session, "examples")
    session.run("python", "-m", "examples.demo", *session.posargs)


@nox.session
def serve(session: nox.Session) -> None:
    """Serve a directory: ``nox -s serve -- DIRECTORY [options of examples.server]``."""

    _install(session, "examples")
    arguments = list(session.posargs) or ["."]
    said = {argument.partition("=")[0] for argument in arguments}
    if not said & {"--accounts", "--anonymous", "--user"}:
        arguments.append("--anonymous")

    def option(name: str, default: str) -> str:
        for argument, following in zip(arguments, [*arguments[1:], default], strict=True):
            if argument == name:
                return following
            if argument.startswith(f"{name}="):
                return argument.partition("=")[2]

        return default

    host = option("--host", "127.0.0.1")
    login = f"--user {user} " if (user := option("--user", "")) else ""
    address = f"[{host}]" if ":" in host else host
    session.log(f"to try it: curl {login}ftp://{address}:{option('--port', '2121')}/")
    session.run("python", "-m", "examples.server", *arguments)
