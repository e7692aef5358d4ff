"""A RabbitMQ node of the test's own, so that stopping it takes the broker away from nobody else."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = Path("/usr/lib/rabbitmq/bin")


def programs_folder() -> Path | None:
    """Return where the server's own scripts are (without the wrapper that changes the account), None without any."""
    if (PROGRAMS / "rabbitmq-server").exists():
        return PROGRAMS
    found = shutil.which("rabbitmq-server")
    return None if found is None else Path(found).resolve().parent


class PrivateBroker:
    """One node with free ports and all of its files in `folder`."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._node = f"market-maker-{os.getpid()}@localhost"
        port, distribution_port = free_ports(2)
        self.url = f"amqp://guest:guest@127.0.0.1:{port}/"
        folder.mkdir(parents=True)
        (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
        (folder / "plugins").write_text("[].\n")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "db"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node and wait until it serves."""
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [self._programs / "rabbitmq-server"], env=self._environment, stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while self.control("await_startup", "--timeout", "30", check=False) != 0:
            assert time.monotonic() < deadline, (self._folder / "output").read_text(errors="replace")[-3000:]
            time.sleep(0.5)

    def control(self, *words: str, check: bool = True) -> int:
        """Run rabbitmqctl against this node and return its exit code."""
        done = subprocess.run(
            [self._programs / "rabbitmqctl", "-n", self._node, *words],
            env=self._environment, capture_output=True, check=False, timeout=90,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.returncode

    def stop(self) -> None:
        """End the node for good."""
        if self._process is None:
            return
        self.control("stop", check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)


def free_ports(number: int) -> list[int]:
    """Return ports that nobody listened on a moment ago."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
