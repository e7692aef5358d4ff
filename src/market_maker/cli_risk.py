"""The commands `risk ...`: figures, storms, tests of models, limits, alerts and the kill switch of a service that runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.units import format_instant

if TYPE_CHECKING:
    from rich.console import Console

    from market_maker.client import Client

app = typer.Typer(no_args_is_help=True, help="Risk figures, limits and the kill switch of a service that runs.")

LOCAL = "http://127.0.0.1:8000"
Url = Annotated[str, typer.Option("--url", envvar="MARKET_MAKER_URL", help="where the service is")]
Key = Annotated[str | None, typer.Option("--api-key", envvar="MARKET_MAKER_API_KEY", help="where it has keys")]
Position = Annotated[str, typer.Argument(help="id of a position")]
LimitId = Annotated[str, typer.Argument(help="id of a limit, as `risk limits` shows it")]
Sum = Annotated[str, typer.Option(help="POSITION, PAIR, ACCOUNT, STRATEGY, BOOK")]
Told = Annotated[
    str | None,
    typer.Option(help="tell money in this: what the pair settles in (default), or the quote of an INVERSE one"),
]
Scope = Annotated[str, typer.Option(help="ALL, ACCOUNT, STRATEGY, PAIR, POSITION")]
ScopeId = Annotated[str | None, typer.Option(help="whose; none for ALL")]
Newest = Annotated[int, typer.Option("--last", min=1, max=1000, help="so many, newest first")]


@app.command()
def assess(
    position_id: Position,
    model: Annotated[str | None, typer.Option(help="VaR or ExpectedShortfall")] = None,
    method: Annotated[str, typer.Option(help="HISTORICAL, NORMAL, EWMA, GARCH, ...")] = "HISTORICAL",
    confidence: Annotated[str | None, typer.Option(help="such as 0.99")] = None,
    horizon: Annotated[str | None, typer.Option(help="such as 1d")] = None,
    scope: Sum = "POSITION",
    currency: Told = None,
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Compute and keep the figures of a position, or of what it is a part of."""
    wishes: dict[str, Any] = {"risk_model": model, "method": method, "scope": scope, "currency": currency}
    with _client(url, api_key) as client:
        found = client.assess_risk(position_id, confidence_level=confidence, time_horizon=horizon, **wishes)
    print(
        f"VaR {found.value_at_risk} ES {found.expected_shortfall} {found.currency} at {found.confidence_level} over {found.time_horizon}"
        f" ({found.method}, {found.observations} returns of {found.sampling_interval}, scaled by {found.scaling:.4g})"
    )


@app.command()
def report(
    position_id: Position,
    to: Annotated[Path | None, typer.Option(help="file; default: risk-<id>.html")] = None,
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Write the risk page of a position: one HTML file that opens without a network."""
    target = to or Path(f"risk-{position_id}.html")
    if not target.parent.is_dir():
        raise InvalidRequest.of("--to", str(target), "a file in a folder that exists")
    with _client(url, api_key) as client:
        target.write_text(client.get_risk_report(position_id), "utf-8")
    print(f"report: {target}")


@app.command()
def stress(
    position_id: Position,
    scenario: Annotated[
        list[str] | None,
        typer.Option(help="a storm as NAME=MOVE, such as crash=-0.4 (repeatable); default: the published ones"),
    ] = None,
    loss: Annotated[str | None, typer.Option(help="ask which move loses this much; default: the equity")] = None,
    norm: Annotated[
        str, typer.Option(help="LARGEST, EUCLID, SUM, LIKELIHOOD: which move is the smallest")
    ] = "LIKELIHOOD",
    horizon: Annotated[str | None, typer.Option(help="of the worst stretches, such as 1h")] = None,
    scope: Sum = "POSITION",
    currency: Told = None,
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Show what storms would lose: given ones, the worst stretches of the history, and the smallest that loses an amount."""
    wishes: dict[str, Any] = {"scope": scope, "norm": norm, "currency": currency}
    storms = [_storm(text) for text in scenario or []]
    with _client(url, api_key) as client:
        found = client.stress_risk(position_id, scenarios=storms, loss=loss, time_horizon=horizon, **wishes)
    rows = [(each["scenario"], each["loss"], each["market"], each["liquidation"]) for each in found.fixed]
    rows += [
        (f"history, {format_instant(int(each['from_ts']))[:19]}", each["loss"], "", "") for each in found.historical
    ]
    _show(("storm", f"loss, {found.currency}", "of it market", "getting out"), rows)
    if "reason" in found.reverse:
        print(found.reverse["reason"])
    else:
        moves = ", ".join(f"{each['factor']} {each['move']:+.2%}" for each in found.reverse["moves"])
        print(f"{found.reverse['loss']} are lost by {moves}")


@app.command("test")
def judge(
    position_id: Position,
    method: Annotated[list[str] | None, typer.Option(help="repeatable; default: HISTORICAL, NORMAL, EWMA")] = None,
    window: Annotated[int, typer.Option(help="observations for each forecast")] = 250,
    interval: Annotated[str | None, typer.Option(help="of the observations, such as 1m")] = None,
    confidence: Annotated[str | None, typer.Option(help="such as 0.99")] = None,
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Judge methods by what happened to the pair of a position."""
    methods: Any = method or []
    with _client(url, api_key) as client:
        found = client.test_risk_models(
            position_id, methods=methods, window=window, interval=interval, confidence_level=confidence
        )
    rows = []
    for each in found.models:
        if "reason" in each:
            rows.append((each["method"], "", "", "", each["reason"]))
            continue
        p_value = "" if each["adjusted_p_value"] is None else f"{each['adjusted_p_value']:.3g}"
        beyond = f"{each['exceptions']} of {each['observations']}"
        rows.append((each["method"], each["light"], beyond, p_value, ", ".join(each["reasons"])))
    _show(("method", "light", "beyond", "p-value", "against it"), rows)


@app.command()
def limits(url: Url = LOCAL, api_key: Key = None) -> None:
    """Show the limits with their last values and what they hold back."""
    with _client(url, api_key) as client:
        found = client.get_limits().items
    rows = [
        (
            str(each.limit_id), each.kind, _whose(each.scope, each.scope_id), str(each.value), str(each.threshold),
            each.state, each.on_breach, each.hold, _when(each.evaluated_ts),
        )
        for each in found
    ]  # fmt: skip
    _show(("limit_id", "kind", "scope", "value", "threshold", "state", "on_breach", "hold", "evaluated"), rows)
    for each in found:
        if each.not_evaluated:
            print(f"limit {each.limit_id} could not be evaluated: {each.not_evaluated}")


@app.command("add-limit")
def add_limit(
    kind: Annotated[str, typer.Argument(help="MAX_VAR, MAX_LOSS, MAX_POSITION, ...; docs/concepts/risk_figures.md")],
    threshold: Annotated[str, typer.Argument(help="the largest value allowed")],
    scope: Scope = "ALL",
    scope_id: ScopeId = None,
    warn_share: Annotated[str, typer.Option(help="share of the threshold from which it warns")] = "0.8",
    on_breach: Annotated[str, typer.Option(help="ALERT, REDUCE, HALT")] = "ALERT",
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Add a limit; where the service has keys, with one of scope admin."""
    wishes: dict[str, Any] = {"kind": kind, "scope": scope, "on_breach": on_breach}
    with _client(url, api_key) as client:
        found = client.add_limit(threshold=threshold, scope_id=scope_id, warn_share=warn_share, **wishes)
    print(f"limit {found.limit_id}: {found.kind} {found.threshold} of {_whose(found.scope, found.scope_id)}")


@app.command("remove-limit")
def remove_limit(limit_id: LimitId, url: Url = LOCAL, api_key: Key = None) -> None:
    """Remove a limit; its open alerts are cleared."""
    with _client(url, api_key) as client:
        client.remove_limit(limit_id)
    print(f"limit {limit_id} is removed")


@app.command("reset-limit")
def reset_limit(limit_id: LimitId, url: Url = LOCAL, api_key: Key = None) -> None:
    """Let go what a breach of a limit holds back; a breach that lasts holds back again when next seen."""
    with _client(url, api_key) as client:
        found = client.reset_limit(limit_id)
    print(f"limit {limit_id}: {found.state}, {found.hold}")


@app.command()
def alerts(
    raised: Annotated[bool, typer.Option("--raised", help="only those that are open")] = False,
    last: Newest = 20,
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Show alerts, newest first."""
    with _client(url, api_key) as client:
        found = client.get_alerts(alert_state="RAISED" if raised else None, limit=last).items
    rows = [(_when(each.raised_ts), each.severity, each.state, _when(each.cleared_ts), each.message) for each in found]
    _show(("raised", "severity", "state", "cleared", "message"), rows)


@app.command()
def states(url: Url = LOCAL, api_key: Key = None) -> None:
    """Show what a breach or a kill switch holds back."""
    with _client(url, api_key) as client:
        found = client.get_risk_states().items
    rows = [
        (_whose(each.scope, each.scope_id), each.state, _when(each.since_ts), each.reason, str(each.limit_id or ""))
        for each in found
    ]
    _show(("scope", "state", "since", "reason", "limit_id"), rows)


@app.command()
def audit(last: Newest = 20, url: Url = LOCAL, api_key: Key = None) -> None:
    """Show what was changed about limits and kill switches, newest first."""
    with _client(url, api_key) as client:
        found = client.get_risk_audit(limit=last).items
    rows = [
        (_when(each.ts), each.action, ", ".join(f"{name} {value}" for name, value in each.details.items() if value))
        for each in found
    ]
    _show(("when", "action", "details"), rows)


@app.command("kill-switch")
def kill_switch(
    to: Annotated[str, typer.Argument(help="engage or release")],
    reason: Annotated[str, typer.Option(help="for the audit trail")],
    scope: Scope = "ALL",
    scope_id: ScopeId = None,
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Cancel every open order of a scope and refuse new ones until it is released, also over a restart."""
    if to not in {"engage", "release"}:
        raise InvalidRequest.of("TO", to, "engage, release")
    wishes: dict[str, Any] = {"scope": scope, "scope_id": scope_id}
    with _client(url, api_key) as client:
        found = client.set_kill_switch(to == "engage", reason, **wishes)
    if to == "engage":
        print(f"engaged for {_whose(scope, scope_id)}; {found.orders_ended} orders ended")
    else:
        left = ", ".join(_whose(each.scope, each.scope_id) for each in found.items)
        print(f"released for {_whose(scope, scope_id)}" + (f"; still engaged for {left}" if left else ""))


def _storm(text: str) -> dict[str, Any]:
    name, _, move = text.partition("=")
    try:
        return {"name": name, "shock": float(move)}
    except ValueError:
        raise InvalidRequest.of("--scenario", text, "NAME=MOVE with a relative move, such as crash=-0.4") from None


def _whose(scope: str, scope_id: object) -> str:
    return scope if scope_id is None else f"{scope} {scope_id}"


def _when(ts: str | None) -> str:
    return "" if ts is None else format_instant(int(ts))[:19]


@contextmanager
def _client(url: str, api_key: str | None) -> Iterator[Client]:
    from market_maker.client import Client  # HTTP is loaded by those who ask a service

    with Client(url, api_key, attempts=1) as client:
        yield client


def _show(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Column, Table

    console = _console()
    table = Table(*(Column(name, no_wrap=name == names[0]) for name in names), box=None)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _console() -> Console:
    from rich.console import Console

    plain = Console()
    return plain if plain.is_terminal else Console(width=250)
