"""The files of ``examples/deploy``, judged by the programs that read them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.server.command_line import CommandLine
from tests.interop.served import missing
from tests.interop.test_haproxy import HAPROXY

DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"


@pytest.fixture(scope="module")
def manifest() -> list[dict[str, Any]]:
    """Return the documents of the manifest for Kubernetes."""

    try:
        import yaml
    except ImportError:
        missing("PyYAML")
    documents: list[dict[str, Any]] = list(
        yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    )
    return documents


def found(manifest: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Return one document."""

    [document] = [
        each for each in manifest if (each["kind"], each["metadata"]["name"]) == (kind, name)
    ]
    return document


def check_with_haproxy(file: Path) -> None:
    """Let HAProxy read a configuration."""

    if HAPROXY is None:
        missing("haproxy")
    run = subprocess.run(
        [HAPROXY, "-c", "-f", file], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stdout + run.stderr
    # The cluster, which knows the names of its nodes, is not here.
    warnings = [line for line in run.stderr.splitlines() if "[WARNING]" in line]
    assert [line for line in warnings if "could not resolve address 'ftpdata-" not in line] == []


def test_haproxy_takes_its_configurations(
    tmp_path: Path, manifest: list[dict[str, Any]]
) -> None:
    """Both that of the file, and that of the cluster."""

    check_with_haproxy(DEPLOY / "haproxy.cfg")
    file = tmp_path / "haproxy.cfg"
    file.write_text(found(manifest, "ConfigMap", "ftp-haproxy")["data"]["haproxy.cfg"])
    check_with_haproxy(file)


def test_systemd_takes_its_units(tmp_path: Path) -> None:
    """But for the Python of the server, which stands elsewhere here."""

    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        missing("systemd-analyze")
    for name in ("ftpdata.service", "ftpdata.socket"):
        unit = (DEPLOY / name).read_text()
        (tmp_path / name).write_text(unit.replace("/opt/ftpdata/venv/bin/python", sys.executable))
    run = subprocess.run(
        [analyze, "verify", tmp_path / "ftpdata.service", tmp_path / "ftpdata.socket"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_the_server_takes_the_arguments(manifest: list[dict[str, Any]]) -> None:
    """Those of the unit, and those of the cluster for each node."""

    unit = (DEPLOY / "ftpdata.service").read_text()
    line = re.search(r"^ExecStart=(.*?[^\\])$", unit, re.MULTILINE | re.DOTALL)
    assert line
    arguments = shlex.split(line[1].replace("\\\n", ""))
    assert arguments[1:3] == ["-m", "examples.server"]
    assert CommandLine.parse(arguments[3:]).options.fd == 3

    pod = found(manifest, "StatefulSet", "ftpdata")["spec"]["template"]["spec"]
    script = pod["containers"][0]["command"][2].replace("exec python -m examples.server", "echo")
    slices = []
    for node in range(2):
        printed = subprocess.run(
            ["sh", "-c", script],
            env={"HOSTNAME": f"ftpdata-{node}", "FTP_USER": "ann:secret", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        options = CommandLine.parse(shlex.split(printed)).options
        slices.append((options.passive_ports.first, options.passive_ports.last))
        assert pod["terminationGracePeriodSeconds"] > 2 * options.grace
        valkey = found(manifest, "Service", "ftp-valkey")
        assert options.cluster == f"valkey://{valkey['metadata']['name']}:6379"
    assert slices == [(50000, 50009), (50010, 50019)]

    service = found(manifest, "Service", "ftp")["spec"]["ports"]
    assert [port["port"] for port in service] == [21, *range(50000, 50020)]


def test_kubernetes_takes_the_manifest(manifest: list[dict[str, Any]]) -> None:
    """Each document is what the schema of its kind says."""

    try:
        import kubernetes_validate
    except ImportError:
        missing("kubernetes-validate")
    assert len(manifest) == 8
    for document in manifest:
        kubernetes_validate.validate(document, "1.31", strict=True)
    found(manifest, "Deployment", "ftp-haproxy")["spec"]["replicas"] = "one"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            found(manifest, "Deployment", "ftp-haproxy"), "1.31", strict=True
        )
