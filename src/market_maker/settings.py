"""Every setting: name, default, unit and meaning; from a YAML file, the environment (MM_), the command line.

Later sources win: defaults < file < environment < command line. Unknown keys and wrong values are errors
that name the key. Nested keys are joined by a dot in files and on the command line and by two underscores
in the environment: simulator.execution_delay = MM_SIMULATOR__EXECUTION_DELAY. A variable with _FILE at its end names a
file that holds the value: MM_DATABASE_URL_FILE.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError
from pydantic_core import ErrorDetails

from market_maker.domain.errors import FieldError, InvalidRequest, shorten
from market_maker.domain.modes import RiskModel, TestMode
from market_maker.domain.units import DAY_NS, NS_PER_SECOND, Money, format_duration, parse_duration, parse_money

ENVIRONMENT_PREFIX = "MM_"
_FROM_FILE = "_FILE"
_ADDRESSES = {
    "database_url": "the address of a PostgreSQL server, such as postgresql://user@host/name",
    "rabbitmq_url": "the address of a RabbitMQ server, such as amqp://user@host/",
}
"""What they may be, where they are wrong; they are not shown, as they may hold a password."""
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_NOT_SETTINGS = ("MM_TEST_", "MM_SAMPLE_DATA", "MM_CONFIG", "MM_KERNEL_CACHE")


def _duration(value: object) -> int:
    if str(value).strip() == "0":  # nothing is nothing in every unit
        return 0
    try:
        return parse_duration(value)
    except InvalidRequest as error:
        raise ValueError(error.errors[0].allowed) from None


def _money(value: object) -> Money:
    try:
        money = value if isinstance(value, Money) else parse_money(value)
    except InvalidRequest as error:
        raise ValueError(error.errors[0].allowed) from None
    if not 0 < money.amount < Decimal(10) ** 15:
        raise ValueError("a positive amount below 1e15 and a currency, such as 100000 USDT")
    return money


DurationNs = Annotated[int, BeforeValidator(_duration), PlainSerializer(format_duration, return_type=str)]
MoneySetting = Annotated[Money, BeforeValidator(_money), PlainSerializer(str, return_type=str)]


class Role(StrEnum):
    """What a process of the service does."""

    ALL = "ALL"
    API = "API"
    RELAY = "RELAY"
    WORKER = "WORKER"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class MarketSettings(_Section):
    """The keys that simulation and backtest share, by the specification's names."""

    default_balance: MoneySetting = Field(
        Money(Decimal(100000), "USDT"), description="balance of a new account, in its quote currency"
    )
    price_deviation: float = Field(
        0.001,
        ge=0,
        le=0.5,
        description="standard deviation of the relative change of the synthetic reference price per market_update_interval",
    )
    execution_delay: DurationNs = Field(
        100_000_000,
        ge=0,
        le=60_000_000_000,
        description="one-way order latency: from acceptance to the venue (and, in a backtest, back)",
    )
    market_update_interval: DurationNs = Field(
        1_000_000_000,
        ge=1_000_000,
        le=3_600_000_000_000,
        description="time between two steps of the synthetic market; in a backtest the sampling interval of the equity curve",
    )
    test_modes: tuple[TestMode, ...] = Field(tuple(TestMode), min_length=1, description="market modes that may be used")


class SimulatorSettings(MarketSettings):
    """The simulated exchange."""

    seed: int = Field(
        20221101,
        ge=0,
        lt=2**63,
        description="root of all randomness of a session that names no seed of its own; each pair draws its own seed from it",
    )
    commit_batch_max: int = Field(2000, ge=1, le=100_000, description="most commands that one commit carries")
    queue_max: int = Field(
        20_000, ge=1, le=1_000_000, description="commands waiting for one pair beyond which orders are answered 503"
    )
    realism_events: int = Field(
        200_000,
        ge=1_000,
        le=5_000_000,
        description="events of each running market that are kept to measure its realism on, some 80 bytes each",
    )
    realism_interval: DurationNs = Field(
        300_000_000_000,
        ge=0,
        le=86_400_000_000_000,
        description="time between two measurements of the realism of all running markets, for the metrics; 0: none",
    )


class BacktestSettings(MarketSettings):
    """Replay of recorded data."""

    workers: int = Field(
        1, ge=0, le=64, description="worker processes that `serve` starts; 0: run `market-maker worker` elsewhere"
    )
    worker_idle: DurationNs = Field(
        60_000_000_000,
        ge=0,
        le=86_400_000_000_000,
        description="a worker that `serve` started ends after so long without work, and its memory with it; the next job starts"
        " another, which takes about two seconds; 0: never",
    )
    sweep_threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="threads with which a worker does a sweep that was asked for by REST; 0: the processors it may use but one,"
        " shared by all `workers`",
    )
    cluster_address: str = Field(
        "",
        pattern=r"^$|^(tcp|tls)://[^\s/]+:\d{1,5}$",
        description="Dask scheduler that runs sweeps, such as tcp://host:8786; empty: threads of this machine",
    )


class RiskSettings(_Section):
    """Risk figures."""

    default_confidence_level: float = Field(0.95, gt=0.5, lt=1, description="confidence of a request that names none")
    default_time_horizon: DurationNs = Field(
        86_400_000_000_000,
        ge=1_000_000_000,
        le=365 * 86_400_000_000_000,
        description="horizon of a request that names none",
    )
    risk_models: tuple[RiskModel, ...] = Field(
        tuple(RiskModel), min_length=1, description="figures that may be asked for"
    )
    assessment_interval: DurationNs = Field(
        60 * NS_PER_SECOND,
        ge=0,
        le=DAY_NS,
        description="time between two assessments of all open positions; 0: none but on fills that a limit watches",
    )
    maintenance_rate: float = Field(
        0.05, ge=0, lt=1, description="share of a position's value that has to be there as equity, for margin figures"
    )


class Settings(_Section):
    """All settings of one service. Without any, everything runs embedded on this machine."""

    database_url: str | None = Field(
        None,
        pattern=r"^(postgres(ql)?://|\s*\w+\s*=)",
        description="PostgreSQL, such as postgresql://user@host/name; default: the embedded PostgreSQL in data_dir",
    )
    database_pool: int = Field(10, ge=2, le=200, description="most database connections of one process")
    rabbitmq_url: str | None = Field(
        None,
        pattern="^amqps?://",
        description="RabbitMQ, such as amqp://user@host/; default: the bus inside the process",
    )
    rabbitmq_prefix: str = Field(
        "market_maker",
        pattern=r"^[A-Za-z0-9_.\-]{1,60}$",
        description="first part of the names of exchanges and queues; services that share a broker need different ones",
    )
    data_dir: Path | None = Field(
        None,
        description="where the embedded database, the lake and caches live; default: the user's data folder, /var/lib/market-maker for root",
    )
    lake: Path | None = Field(None, description="root folder of the tick data; default: lake in data_dir")
    lake_url: str | None = Field(
        None,
        description="object store that holds the tick data, such as s3://bucket/lake (the package of its protocol must be installed); the folder of `lake` is then a cache; default: the folder holds them",
    )
    inbox: Path | None = Field(
        None, description="folder whose files may be imported through the API; default: inbox in data_dir"
    )
    strategy_files: tuple[Path, ...] = Field(
        (),
        description="Python files of your own strategies, one strategy in each; every process that runs them needs them",
    )
    host: str = Field("127.0.0.1", description="address to listen on; other than loopback only with api_keys")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    api_keys: tuple[str, ...] = Field(
        (),
        description="accepted API keys, each scope:sha256-of-the-key in hex, scope one of read, trade, admin; scope@account-id binds it to one account; make one with `market-maker keys`",
    )
    role: Role = Field(
        Role.ALL,
        description="what `serve` runs: ALL; API (with its markets, but neither relay nor workers); RELAY; WORKER. Roles apart need rabbitmq_url",
    )
    standby: bool = Field(
        False, description="wait while another service runs markets on the same database, and take over when it ends"
    )
    rate_limit: int = Field(0, ge=0, description="most requests per second of one client address; 0: no limit")
    event_retention: DurationNs = Field(
        DAY_NS, ge=3600 * NS_PER_SECOND, description="how long published events are kept in the database"
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="least severity that is logged")
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+(/[^\s]*)?$",
        description="OpenTelemetry collector over HTTP that gets traces, such as http://127.0.0.1:4318 (extra `otel`); default: no traces",
    )
    simulator: SimulatorSettings = SimulatorSettings()
    backtest: BacktestSettings = BacktestSettings()
    risk: RiskSettings = RiskSettings()


def load_settings(
    config: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings from a YAML file, the environment and ``key=value`` overrides.

    Parameters
    ----------
    config : the YAML file; default: the path in MM_CONFIG, if that is set
    overrides : texts such as ``simulator.execution_delay=50ms``
    environment : default: the process's own

    Raises
    ------
    InvalidRequest : an unknown key or a wrong value; every fault is named at once
    """
    environment = os.environ if environment is None else environment
    if config is None and environment.get("MM_CONFIG"):
        config = Path(environment["MM_CONFIG"])
    merged: dict[str, Any] = {} if config is None else _read_file(config)
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX) and not name.startswith(_NOT_SETTINGS):
            text = _secret(name, environment[name]) if name.endswith(_FROM_FILE) else environment[name]
            _put(merged, _key_of(name).split("."), text, source=name)
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise InvalidRequest.of("--set", override, "key=value, such as simulator.execution_delay=50ms")
        _put(merged, key.strip().split("."), value.strip(), source=key)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise _translate(error) from None


def setting_sources(
    config: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return for every setting that was given where its value comes from; the parameters are those of `load_settings`."""
    environment = os.environ if environment is None else environment
    if config is None and environment.get("MM_CONFIG"):
        config = Path(environment["MM_CONFIG"])
    sources = {} if config is None else dict.fromkeys(_leaves(_read_file(config)), f"file {config}")
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX) and not name.startswith(_NOT_SETTINGS):
            sources[_key_of(name)] = f"environment {name}"
    return sources | {override.partition("=")[0].strip(): "command line" for override in overrides}


def _leaves(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, value in values.items():
        found += _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return found


def _key_of(variable: str) -> str:
    """Return the dotted key of an environment variable: MM_BACKTEST__WORKERS is backtest.workers."""
    return variable.removeprefix(ENVIRONMENT_PREFIX).removesuffix(_FROM_FILE).lower().replace("__", ".")


def _secret(variable: str, path: str) -> str:
    """Return the content of the file that a variable such as MM_DATABASE_URL_FILE names."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest.of(
            variable, path, f"a readable file with the value ({shorten(str(error), 200)})"
        ) from None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequest.of("config", path, f"a readable YAML file ({shorten(str(error), 200)})") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InvalidRequest.of("config", path, "a mapping of settings")
    return content


def _put(target: dict[str, Any], keys: list[str], text: str, *, source: str) -> None:
    for key in keys[:-1]:
        inner = target.setdefault(key, {})
        if not isinstance(inner, dict):
            raise InvalidRequest.of(source, text, f"a key of the settings ({key} is not a section)")
        target = inner
    is_list = keys[-1] in {"test_modes", "risk_models", "api_keys", "strategy_files"}
    target[keys[-1]] = [part.strip() for part in text.strip("[] ").split(",") if part.strip()] if is_list else text


def _translate(error: ValidationError) -> InvalidRequest:
    faults, told = [], []
    for fault in error.errors(include_url=False):
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            # Its value is not shown: under a name that nobody knows may stand a secret.
            known = _known_keys(fault["loc"][:-1])
            near = get_close_matches(str(fault["loc"][-1]), known, 1)
            meant = f", did you mean {near[0]}?" if near else ";"
            faults.append(FieldError(key, "", f"a known key: {', '.join(known)}"))
            told.append(f"{key} is no setting{meant} known are {', '.join(known)}")
        elif key in _ADDRESSES:
            faults.append(FieldError(key, "", _ADDRESSES[key]))
            told.append(f"{key}: what was given is not allowed; allowed: {_ADDRESSES[key]}")
        else:
            faults.append(_wrong_value(key, fault))
            told.append(f"{key}: {faults[-1].value} is not allowed; allowed: {faults[-1].allowed}")
    return InvalidRequest("; ".join(told), tuple(faults))


def _wrong_value(key: str, fault: ErrorDetails) -> FieldError:
    """Return a fault in the words of users: bounds, and durations with their units."""
    given, allowed = fault["input"], fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    bound = next((name for name in _BOUNDS if name in fault.get("ctx", {})), None)
    if bound is not None:
        limit = fault["ctx"][bound]
        if _is_duration(fault["loc"]):
            given, limit = format_duration(int(given)), format_duration(limit)
        allowed = f"{_BOUNDS[bound]} {limit}"
    return FieldError(key, shorten(given), allowed)


def _is_duration(location: tuple[int | str, ...]) -> bool:
    model = _model_at(location[:-1])
    return any(getattr(each, "func", None) is _duration for each in model.model_fields[str(location[-1])].metadata)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    return list(_model_at(location).model_fields)


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    model: type[BaseModel] = Settings
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel), part
        model = annotation
    return model
