"""A service of one's own for the length of a block: for notebooks, examples and tests of a user's code."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from market_maker.domain.errors import Unavailable

_URL = re.compile(r"serves (http://\S+)")
_STOP_S = 20


@contextmanager
def local_service(settings: Mapping[str, object] | None = None) -> Iterator[str]:
    """Run `market-maker serve` on a free port, in a process of its own, and yield its URL.

    Parameters
    ----------
    settings : by their dotted names, such as ``{"simulator.execution_delay": "20ms"}``; the rest comes from the
        environment as ever, but for `log_level`: warnings only

    Raises
    ------
    Unavailable : the service ended at its start; what it said is on standard error

    Examples
    --------
    ::

        with local_service() as url, Client(url) as client:
            print(client.get_order_book(DEFAULT_PAIR_ID, depth=1))
    """
    given = {"log_level": "WARNING", **(settings or {})}
    names = {"MM_" + name.upper().replace(".", "__"): str(value) for name, value in given.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "market_maker", "serve", "--port", "0"],
        env={**os.environ, **names},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = next((match for line in process.stdout if (match := _URL.search(line))), None)
        if found is None:
            raise Unavailable(f"the service ended at its start with exit code {process.wait()}")
        yield found[1]
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        process.kill()
        process.stdout.close()
