"""The command `play`: a recording as the market of a session of a service that runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from market_maker.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from market_maker.api.schemas import SessionView
    from market_maker.client import Client

LOOK_S = 0.5


def play(
    pair: Annotated[str, typer.Argument(help="symbol or id of the pair whose recording is played")],
    start: Annotated[str, typer.Argument(help="from this date or timestamp on")],
    end: Annotated[str, typer.Argument(help="up to this date, included, or timestamp")],
    strategy: Annotated[
        str | None, typer.Option(help="name or id of a strategy that trades from the first instant on")
    ] = None,
    speed: Annotated[float, typer.Option(help="so many times as fast as the clock, 0.1 to 100")] = 1.0,
    fastest: Annotated[bool, typer.Option("--fastest", help="as fast as possible")] = False,
    at_end: Annotated[
        Literal["PAUSE", "STOP", "LOOP"], typer.Option(help="what the session does at the end")
    ] = "PAUSE",
    allow_gaps: Annotated[bool, typer.Option("--allow-gaps", help="in spite of less than 0.99 coverage")] = False,
    execution_delay: Annotated[str | None, typer.Option(help="way of orders to the venue, such as 10ms")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="return when the recording has ended")] = False,
    url: Annotated[
        str, typer.Option("--url", envvar="MARKET_MAKER_URL", help="where the service is")
    ] = "http://127.0.0.1:8000",
    api_key: Annotated[str | None, typer.Option(envvar="MARKET_MAKER_API_KEY", help="where it has keys")] = None,
) -> None:
    """Start a session whose market is a recording: orders stand in it and fill as in a backtest. Prints the session's id."""
    from market_maker.api.schemas import PlayRecording
    from market_maker.cli_names import pair_of, strategy_of
    from market_maker.client import Client  # HTTP is loaded by those who ask a service

    if wait and at_end == "LOOP":
        raise InvalidRequest.of("--wait", at_end, "another --at-end than LOOP: such a recording never ends")
    wish = PlayRecording(
        start=start, end=end, pace="FASTEST" if fastest else "CLOCK", at_end=at_end, allow_gaps=allow_gaps
    )
    with Client(url, api_key, attempts=1) as client:
        pair_id = pair_of(client, pair)
        strategy_id = None if strategy is None else strategy_of(client, strategy)
        # It stands still until the strategy is there, so that nothing is missed.
        session = client.start_session(
            pair_id, playback=wish, speed=speed, execution_delay=execution_delay, state="PAUSED"
        )
        run_id = None if strategy_id is None else client.run_strategy(strategy_id).run_id
        client.change_session(session.session_id, state="RUNNING")
        print(session.session_id)
        if wait:
            _await_end(client, session)
            if run_id is not None:
                run = client.get_strategy_run(run_id)
                print(f"{run.name}: net {run.pnl.net:f}, {run.fills} fills, inventory {run.inventory:f}")


def _await_end(client: Client, session: SessionView) -> None:
    """Return when the session has paused or stopped at the end of its recording."""
    while any(
        each.session_id == session.session_id and each.state == "RUNNING" for each in client.get_sessions().items
    ):
        time.sleep(LOOK_S)
