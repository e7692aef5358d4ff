"""compose.yaml, Dockerfile, systemd units and the script of secrets: what they name exists, and nothing runs as root."""

from __future__ import annotations

import configparser
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from conftest import missing
from market_maker import cli
from market_maker.api.guard import ApiKeys
from market_maker.settings import load_settings

PROJECT = Path(__file__).resolve().parents[2]
DEPLOY = PROJECT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
KNOWN = {  # what the Compose specification allows of a service, as far as it is used here
    "image": str, "build": dict, "restart": str, "read_only": bool, "cap_drop": list, "security_opt": list, "tmpfs": list,
    "stop_grace_period": str, "volumes": list, "environment": dict, "secrets": list, "depends_on": dict, "command": list,
    "ports": list, "healthcheck": dict, "shm_size": str, "hostname": str,
}  # fmt: skip
HEALTHCHECK = {"test", "interval", "timeout", "start_period", "retries"}
DURATION = re.compile(r"\d+(ms|s|m|h)")
COMMANDS = set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]


def linter(name: str) -> str:
    """Return a program of the development packages; without it a failure in continuous integration, a skip elsewhere."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else shutil.which(name) or missing(f"{name} is not installed (make develop)")


def test_compose_fits_the_schema_of_the_compose_specification(tmp_path: Path) -> None:
    command = [linter("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, DEPLOY / "compose.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((DEPLOY / "compose.yaml").read_text().replace("stop_grace_period: 30s", "stop_grace: 30s"))
    done = subprocess.run([*command, wrong], capture_output=True, text=True, check=False)
    assert (done.returncode, "stop_grace" in done.stdout) == (1, True)


@pytest.mark.skipif(sys.platform != "linux", reason="hadolint comes as a package on Linux alone")
def test_the_dockerfile_has_nothing_that_hadolint_complains_of() -> None:
    command = [linter("hadolint"), "--no-color", DEPLOY / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_only_known_sections() -> None:
    assert {key for key in COMPOSE if not key.startswith("x-")} <= {"name", "services", "volumes", "secrets"}
    assert set(SERVICES) == {"service", "worker", "postgres", "rabbitmq", "prometheus", "grafana"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_well_formed(name: str) -> None:
    service = SERVICES[name]
    assert {key for key in service if not isinstance(service[key], KNOWN[key])} == set()
    assert ":" in service["image"], "an image has a version"
    check = service["healthcheck"]
    assert set(check) <= HEALTHCHECK
    assert check["test"][0] == "CMD"
    assert all(DURATION.fullmatch(check[key]) for key in ("interval", "timeout", "start_period") if key in check)
    assert all(isinstance(value, str) for value in service.get("environment", {}).values())


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_names_is_there(name: str) -> None:
    service = SERVICES[name]
    for other, how in service.get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert SERVICES[other]["healthcheck"]
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert "secrets" in source or (DEPLOY / source).exists(), source
        else:
            assert source in COMPOSE["volumes"]
    for named in re.findall(r"/run/secrets/(\w+)", str(service)):
        assert named in service["secrets"]


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_open_to_other_machines(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))
    assert not re.search(r"(?i)(password|secret|key)\S*: (?!/run/secrets)\S", yaml.dump(SERVICES[name]["image"]))


@pytest.mark.parametrize("name", ["service", "worker"])
def test_our_containers_run_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["command"][0] in COMMANDS
    dockerfile = (DEPLOY / service["build"]["dockerfile"].removeprefix("deploy/")).read_text()
    last = dockerfile.rpartition("FROM ")[2]
    assert re.search(r"^USER (?!root\b|0\b)\w", last, re.MULTILINE)
    assert "HEALTHCHECK" in last


def test_the_secrets_that_are_made_are_those_that_are_named_and_the_service_takes_them(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "make_secrets.sh", tmp_path)
    made = subprocess.run(["sh", tmp_path / "make_secrets.sh"], capture_output=True, text=True, check=True).stdout
    folder = tmp_path / "secrets"
    assert folder.stat().st_mode & 0o077 == 0
    named = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} | {"rabbitmq.conf"}
    assert {path.name for path in folder.iterdir()} == named
    environment = {
        key: value.replace("/run/secrets", str(folder))
        for key, value in SERVICES["service"]["environment"].items()
    }  # fmt: skip
    settings = load_settings(environment=environment)
    password = (folder / "postgres_password").read_text()
    assert settings.database_url == f"postgresql://market_maker:{password}@postgres/market_maker"
    assert str(settings.rabbitmq_url).split(":")[2].split("@")[0] in (folder / "rabbitmq.conf").read_text()
    keys = ApiKeys(settings.api_keys)
    admin = made.partition("shown only now): ")[2].split()[0]
    assert keys.level(admin) == 2
    assert keys.level((folder / "metrics_key").read_text()) == 0
    assert hashlib.sha256(admin.encode()).hexdigest() in settings.api_keys[0]
    again = subprocess.run(["sh", tmp_path / "make_secrets.sh"], capture_output=True, text=True, check=False)
    assert (again.returncode, "exists already" in again.stderr) == (1, True)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_runs_our_command_as_a_user_and_stops_in_time(path: Path) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    service = unit["Service"]
    assert service["User"] == "market-maker"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ExecStart"].split()[1] in COMMANDS
    assert int(service["TimeoutStopSec"]) >= 20
    named = unit["Unit"]["Documentation"].partition("/opt/market-maker/")[2]
    assert (PROJECT / named).is_file()
    names = re.findall(r"\bMM_\w+(?==)", path.read_text())
    load_settings(environment=dict.fromkeys(set(names) & {"MM_DATA_DIR"}, "/var/lib/market-maker"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_reads_the_unit_without_complaint(path: Path, tmp_path: Path) -> None:
    text = path.read_text().replace("/opt/market-maker/.venv/bin/market-maker", sys.executable)
    text = re.sub(
        r"^(User|Group|Documentation)=.*\n", "", text, flags=re.MULTILINE
    )  # the user is made at the installation
    copy = tmp_path / path.name
    copy.write_text(text)
    target = copy if "@" not in path.name else copy.with_name(path.name.replace("@", "@1"))
    if target != copy:
        target.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(target)], capture_output=True, text=True, check=False
    )
    told = [line for line in done.stderr.splitlines() if path.name.split(".")[0].rstrip("@") in line]
    assert told == []
