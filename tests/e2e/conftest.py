"""Services to be killed, each with a database of its own; all of them are gone after the test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.service_process import ServiceProcess
from market_maker.venue.market.compiled import compiled_market

MakeService = Callable[..., ServiceProcess]


@pytest.fixture(scope="session", autouse=True)
def _compiled_kernels() -> None:
    """Compile the market once: a service that did it at its start would be late for every test."""
    compiled_market()


@pytest.fixture
def service_folder() -> Iterator[Path]:
    """Yield a folder in which a database server that runs as another account may work too."""
    folder = Path(tempfile.mkdtemp(prefix="market-maker-e2e-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_service(request: pytest.FixtureRequest, service_folder: Path) -> Iterator[MakeService]:
    """Yield a maker of service processes; a failing test shows the end of their logs."""
    for name in {"database_dsn", "empty_database_dsn"} & set(request.fixturenames):
        request.getfixturevalue(name)  # before us: what is set up first is taken away last
    made: list[ServiceProcess] = []

    def make(dsn: str, **settings: str) -> ServiceProcess:
        folder = service_folder / f"service-{len(made) + 1}" if made else service_folder / "service"
        service = ServiceProcess(dsn, folder, settings)
        made.append(service)
        return service

    yield make
    for service in made:
        service.close()
        if service.log.exists():
            end = "\n".join(service.log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:])
            request.node.add_report_section("teardown", str(service.log), end)
