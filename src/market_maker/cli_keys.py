"""The command `keys`: makes API keys, and lists those that are accepted."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from market_maker.domain.errors import InvalidRequest
from market_maker.settings import load_settings

Config = Annotated[Path | None, typer.Option("--config", help="YAML file of settings (default: MM_CONFIG)")]
Set = Annotated[list[str] | None, typer.Option("--set", help="one setting, such as port=8080")]


def keys(
    scope: Annotated[
        str | None, typer.Argument(help="read, trade or admin: make a key of this scope (default: trade)")
    ] = None,
    account: Annotated[UUID | None, typer.Option(help="bind the key to this account; scope read or trade")] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="show the keys that the settings accept, and make none")
    ] = False,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Make an API key: prints it once, and the line for `api_keys` in the settings; or list those that are accepted."""
    if listing:
        for entry in load_settings(config, overrides=setting or []).api_keys:
            told, _, digest = entry.rpartition(":")
            kept_scope, _, of = told.partition("@")
            print(f"{kept_scope:<6} {of or 'all accounts':<36} sha256 {digest[:12]}...")
        return
    scope = scope or "trade"
    if scope not in ("read", "trade", "admin"):
        raise InvalidRequest.of("scope", scope, "read, trade or admin")
    if account is not None and scope == "admin":
        raise InvalidRequest.of("--account", account, "none for scope admin, which is for all accounts")
    key = secrets.token_urlsafe(32)
    bound = "" if account is None else f"@{account}"
    print(f"key (kept by the caller, shown only now): {key}")
    print(f"setting: api_keys: [{scope}{bound}:{hashlib.sha256(key.encode()).hexdigest()}]")
