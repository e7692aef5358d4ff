"""The command `doctor`: shows what was found and what to do about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from market_maker.domain.errors import InvalidRequest
from market_maker.monitoring.health import State
from market_maker.settings import load_settings, setting_sources

if TYPE_CHECKING:
    from market_maker.doctor import Finding

Config = Annotated[Path | None, typer.Option("--config", help="YAML file of settings (default: MM_CONFIG)")]
Set = Annotated[list[str] | None, typer.Option("--set", help="one setting, such as database_url=...")]

_MARKS = {State.OK: "[green]ok[/]", State.DEGRADED: "[yellow]look[/]", State.DOWN: "[red]wrong[/]"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="findings as JSON")] = False,
    checksums: Annotated[bool, typer.Option(help="read every file of the lake and compare its checksum")] = False,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Look at machine, settings, database, broker, data and versions, and say what to do; exit code 1 when something is wrong."""
    if not asyncio.run(run_doctor(config, setting or [], as_json=as_json, checksums=checksums)):
        raise SystemExit(1)


async def run_doctor(config: Path | None, overrides: Sequence[str], *, as_json: bool, checksums: bool) -> bool:
    """Examine everything and print it; return False when something does not work."""
    from market_maker.doctor import (
        Examination,
        Finding,
        examine,
        worst,
    )  # the service's parts are loaded by those who look

    try:
        settings = load_settings(config, overrides=overrides)
        sources = setting_sources(config, overrides=overrides)
    except InvalidRequest as error:
        found = [Finding("settings", "given", State.DOWN, error.detail, "correct it where it was given")]
    else:
        found = [finding async for finding in examine(Examination(settings, sources, checksums))]
    state = worst(found)
    if as_json:
        print(json.dumps({"state": state.value, "findings": [finding.to_json() for finding in found]}, indent=1))
    else:
        _show(found, state)
    return state is not State.DOWN


def _show(findings: Sequence[Finding], state: State) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    console = Console(highlight=False)
    columns = [Column(no_wrap=True), Column(no_wrap=True), Column(), Column(overflow="fold")]
    table = Table(*columns, box=None, show_header=False, pad_edge=False)
    area = ""
    for finding in findings:
        shown = f"[bold]{finding.area}[/]" if finding.area != area else ""
        area = finding.area
        told = escape(finding.found) + (f"\n[bold]→ {escape(finding.action)}[/]" if finding.action else "")
        table.add_row(shown, _MARKS[finding.state], escape(finding.name), told)
    console.print(table)
    ends = {
        State.OK: "All is well.",
        State.DEGRADED: "It works; see what is marked [yellow]look[/].",
        State.DOWN: "It does not work until what is marked [red]wrong[/] is put right.",
    }
    console.print(ends[state])
