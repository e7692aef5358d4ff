"""The commands `db ...`: state of the database, newest schema, backup, restore, and old rows that may go."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from market_maker.domain.units import format_instant, parse_duration
from market_maker.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Look after the database: status, upgrade, backup, restore, prune.")

Config = Annotated[Path | None, typer.Option("--config", help="YAML file of settings (default: MM_CONFIG)")]
Set = Annotated[list[str] | None, typer.Option("--set", help="one setting, such as database_url=...")]


@app.callback()
def database() -> None:
    """Look after the database: status, upgrade, backup, restore, prune."""


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False, config: Config = None, setting: Set = None
) -> None:
    """Show version, schema, sizes, connections, and what waits."""
    from market_maker import maintenance

    found = asyncio.run(maintenance.status(load_settings(config, overrides=setting or [])))
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    print(f"PostgreSQL {found.server_version // 10_000}, {found.bytes / 1e6:.1f} MB, {found.others} other connections")
    print(f"schema {found.revision or 'none'}, newest {found.newest}")
    if found.waiting_events is not None:
        since = "" if found.oldest_event_s is None else f", the oldest for {found.oldest_event_s:.1f} s"
        print(f"{found.waiting_events} events await publication{since}")
        print(f"{found.open_orders} open orders, {found.running_backtests} backtests queued or running")
    for table in found.tables[:12]:
        print(f"{table.name:<32}{table.rows:>14,} rows{table.bytes / 1e6:>12.1f} MB")


@app.command()
def upgrade(config: Config = None, setting: Set = None) -> None:
    """Bring the schema up to date; every start of the service does the same."""
    from market_maker import maintenance

    before, after = asyncio.run(maintenance.upgrade(load_settings(config, overrides=setting or [])))
    print(f"schema {after}" if before == after else f"schema {before or 'none'} -> {after}")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="file to write; must not exist")],
    files: Annotated[bool, typer.Option("--files", help="also the files of the lake and of results")] = False,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Write everything that is committed into one file, while services go on."""
    from market_maker import maintenance

    settings = load_settings(config, overrides=setting or [])
    manifest = asyncio.run(maintenance.back_up(settings, file, with_files=files))
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {manifest.rows:,} rows of {len(manifest.tables)} tables, schema "
          f"{manifest.revision}, {len(manifest.files)} files")  # fmt: skip
    if manifest.days and not files:
        print(
            f"{len(manifest.days)} tables of recorded days are named in it, not held: copy the lake too, or add --files"
        )


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="a file that `db backup` wrote")],
    replace: Annotated[bool, typer.Option("--replace", help="lose what the database holds")] = False,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Put a backup into an empty database, or with --replace in place of one; services must be stopped."""
    from market_maker import maintenance

    restored = asyncio.run(
        maintenance.restore(load_settings(config, overrides=setting or []), file, replace=replace)
    )  # fmt: skip
    manifest = restored.manifest
    print(f"{manifest.rows:,} rows of {len(manifest.tables)} tables and {restored.files} files, as of "
          f"{format_instant(manifest.created_ts)}")  # fmt: skip
    for name in restored.missing_days[:10]:
        print(f"the lake does not hold {name}")
    if restored.missing_days:
        print("copy the lake of that time, or import these days again (`market-maker doctor` lists them all)")


@app.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only count")] = False,
    events: Annotated[
        str | None, typer.Option(help="published events older than this (default: event_retention)")
    ] = None,
    orders: Annotated[
        str | None, typer.Option(help="also orders that ended longer ago, such as 30d; fills stay")
    ] = None,
    runs: Annotated[str | None, typer.Option(help="also backtests that ended longer ago, with their results")] = None,
    assessments: Annotated[
        str | None, typer.Option(help="also risk figures made longer ago; the newest of each position stay")
    ] = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Delete what is too old: published events, idempotency keys, prices; orders, runs, assessments only when asked."""
    from market_maker import maintenance
    from market_maker.storage.retention import Ages

    settings = load_settings(config, overrides=setting or [])
    ages = Ages(
        settings.event_retention if events is None else parse_duration(events, "--events"),
        None if orders is None else parse_duration(orders, "--orders"),
        None if runs is None else parse_duration(runs, "--runs"),
        None if assessments is None else parse_duration(assessments, "--assessments"),
    )
    gone = asyncio.run(maintenance.prune(settings, ages, dry_run=dry_run))
    for kind, count in gone.items():
        print(f"{count:>10,} {kind}{' would go' if dry_run else ' deleted'}")
