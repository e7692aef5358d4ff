"""One storm: service, users and consumer together, and the checks that follow every storm.

The scenarios differ in what is broken while it blows; what must hold afterwards is the same for all.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

from e2e.event_consumer import EventConsumer
from e2e.ledger import faults_of_ledger, faults_of_promises, unpublished
from e2e.order_load import OrderLoad, Told
from e2e.service_process import DEFAULT_PAIR, ServiceProcess


def new_prefix() -> str:
    """Return a name for exchanges and queues that no other test uses."""
    return f"mm_test_{uuid.uuid4().hex[:10]}"


@dataclass(slots=True)
class Storm:
    """A running service under load."""

    service: ServiceProcess
    load: OrderLoad
    consumer: EventConsumer | None = None

    @classmethod
    async def begin(
        cls,
        service: ServiceProcess,
        seed: int,
        consumer: EventConsumer | None = None,
        *,
        users: int = 8,
        pause_s: float = 0.01,
    ) -> Storm:
        """Start a service with two markets, one of them with fees, and let the users begin."""
        if consumer is not None:
            await consumer.start()
        await service.start()
        second = await service.add_pair_with_fees()
        pairs = {DEFAULT_PAIR: (50_000.0, 0.0002), second: (3_000.0, 0.002)}
        load = OrderLoad(service.port, pairs, seed, users=users, pause_s=pause_s)
        load.start()
        return cls(service, load, consumer)

    async def end(self, *, drain_s: float = 60.0) -> Told:
        """Stop users and markets and check everything that was promised; return what the service told."""
        told = await self.load.stop()
        await self.service.set_state("PAUSED")
        await published(self.service.dsn, drain_s)
        if self.consumer is not None:
            await self.consumer.caught_up(self.service.dsn, drain_s)
            nothing_in(self.consumer.differences(self.service.dsn))
        nothing_in(faults_of_promises(self.service.dsn, told))
        nothing_in(faults_of_ledger(self.service.dsn))
        nothing_in(self.service.faults())
        return told


async def published(dsn: str, timeout_s: float) -> None:
    """Wait until the relay has published everything."""
    for _ in range(int(timeout_s / 0.05)):
        if not unpublished(dsn):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{unpublished(dsn)} events still await publication after {timeout_s} s")


def nothing_in(faults: list[str]) -> None:
    """Fail with the faults, if there are any."""
    assert not faults, "\n".join(faults[:20])
