"""Settings: the specification's YAML as it stands there, and errors that name the key."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.modes import RiskModel, TestMode
from market_maker.domain.units import DAY_NS, Money
from market_maker.settings import load_settings, setting_sources

SPECIFICATION = """\
simulator:
  default_balance: 100000 USDT
  price_deviation: 0.001
  execution_delay: 100ms
  market_update_interval: 1s
  test_modes: [NORMAL, STRESS, CUSTOM]
backtest:
  default_balance: 100000 USDT
  price_deviation: 0.001
  execution_delay: 100ms
  market_update_interval: 1s
  test_modes: [NORMAL, STRESS, CUSTOM]
risk:
  default_confidence_level: 0.95
  default_time_horizon: 1d
  risk_models: [VaR, ExpectedShortfall]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return path


def test_the_specification_word_for_word(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, SPECIFICATION), environment={})
    for section in (settings.simulator, settings.backtest):
        assert section.default_balance == Money(Decimal(100_000), "USDT")
        assert section.price_deviation == 0.001
        assert section.execution_delay == 100_000_000
        assert section.market_update_interval == 1_000_000_000
        assert section.test_modes == (TestMode.NORMAL, TestMode.STRESS, TestMode.CUSTOM)
    assert settings.risk.default_confidence_level == 0.95
    assert settings.risk.default_time_horizon == DAY_NS
    assert settings.risk.risk_models == (RiskModel.VAR, RiskModel.EXPECTED_SHORTFALL)


def test_the_specification_is_the_default(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, SPECIFICATION), environment={}) == load_settings(environment={})


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("simulator: {execution_delays: 1s}", "simulator.execution_delays"),
        ("database: x", "database"),
        ("simulator: {execution_delay: fast}", "simulator.execution_delay"),
        ("simulator: {default_balance: 100000}", "simulator.default_balance"),
        ("simulator: {price_deviation: -1}", "simulator.price_deviation"),
        ("simulator: {test_modes: [CALM]}", "simulator.test_modes"),
        ("risk: {default_confidence_level: 95}", "risk.default_confidence_level"),
        ("risk: {risk_models: []}", "risk.risk_models"),
        ("port: 70000", "port"),
        ("rabbitmq_prefix: 'a b'", "rabbitmq_prefix"),
        ("- a list", "config"),
        ("a: [", "config"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        load_settings(written(tmp_path, text), environment={})
    assert any(fault.field.startswith(key) for fault in error.value.errors), error.value.errors


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as error:
        load_settings(written(tmp_path, "port: x\nwrong: 1\nsimulator: {seed: -1}"), environment={})
    assert {fault.field for fault in error.value.errors} == {"port", "wrong", "simulator.seed"}


def test_an_unknown_key_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="market_update_interval"):
        load_settings(environment={"MM_SIMULATOR__MARKET_UPDATE": "1s"})


def test_the_value_under_an_unknown_key_is_not_shown() -> None:
    """It may be a secret: a service whose surroundings held a caller's key under MM_API_KEY wrote it into its log."""
    with pytest.raises(InvalidRequest) as error:
        load_settings(environment={"MM_API_KEY": "planted-key-Zq7"})
    assert error.value.detail.startswith("api_key is no setting, did you mean api_keys? known are database_url, ")
    assert "planted" not in f"{error.value.detail} {error.value.errors}"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("simulator.execution_delay=2m", "simulator.execution_delay: 2m is not allowed; allowed: at most 1m"),
        ("event_retention=5m", "event_retention: 5m is not allowed; allowed: at least 1h"),
        ("risk.default_confidence_level=95", "risk.default_confidence_level: 95 is not allowed; allowed: less than 1"),
        ("role=api", "role: api is not allowed; allowed: 'ALL', 'API', 'RELAY' or 'WORKER'"),
        ("simulator.default_balance=-5 USDT", "simulator.default_balance: -5 USDT is not allowed; allowed: a positive amount"),
    ],
)  # fmt: skip
def test_bounds_are_told_in_the_units_of_users(override: str, told: str) -> None:
    """A delay of 2m was `120000000000`, allowed `less than or equal to 60000000000`; a balance below 0 was taken."""
    with pytest.raises(InvalidRequest) as error:
        load_settings(overrides=[override], environment={})
    assert error.value.detail.startswith(told)


@pytest.mark.parametrize("name", ["database_url", "rabbitmq_url"])
def test_an_address_that_is_none_is_refused_and_not_shown(name: str) -> None:
    with pytest.raises(
        InvalidRequest, match=f"{name}: what was given is not allowed; allowed: the address of a"
    ) as error:
        load_settings(overrides=[f"{name}=mysql://user:planted-Zq7@host/name"], environment={})
    assert "planted" not in f"{error.value.detail} {error.value.errors}"
    good = {"database_url": ["postgres://h/n", "host=h dbname=n"], "rabbitmq_url": ["amqp://h/", "amqps://u:p@h/"]}
    for url in good[name]:
        assert getattr(load_settings(overrides=[f"{name}={url}"], environment={}), name) == url


def test_nothing_needs_no_unit() -> None:
    """The reference says `0: none` of some durations, and `0` was refused for the lack of a unit."""
    found = load_settings(environment={"MM_RISK__ASSESSMENT_INTERVAL": "0"}, overrides=["backtest.worker_idle=0"])
    assert (found.risk.assessment_interval, found.backtest.worker_idle) == (0, 0)
    with pytest.raises(InvalidRequest, match="market_update_interval"):
        load_settings(environment={"MM_SIMULATOR__MARKET_UPDATE_INTERVAL": "0"})


def test_later_sources_win(tmp_path: Path) -> None:
    config = written(tmp_path, "simulator: {execution_delay: 1ms, seed: 1}\nport: 1")
    environment = {"MM_SIMULATOR__EXECUTION_DELAY": "2ms", "MM_PORT": "2", "HOME": "/"}
    settings = load_settings(config, overrides=["simulator.execution_delay=3ms"], environment=environment)
    assert (settings.simulator.execution_delay, settings.port, settings.simulator.seed) == (3_000_000, 2, 1)


def test_the_file_may_come_from_the_environment(tmp_path: Path) -> None:
    config = written(tmp_path, "port: 7")
    assert load_settings(environment={"MM_CONFIG": str(config)}).port == 7
    with pytest.raises(InvalidRequest, match="config"):
        load_settings(environment={"MM_CONFIG": str(tmp_path / "missing.yaml")})


def test_lists_on_the_command_line() -> None:
    settings = load_settings(overrides=["simulator.test_modes=[NORMAL, STRESS]"], environment={})
    assert settings.simulator.test_modes == (TestMode.NORMAL, TestMode.STRESS)


@pytest.mark.parametrize("override", ["port", "port.inner=1", "=1"])
def test_a_wrong_override_is_named(override: str) -> None:
    with pytest.raises(InvalidRequest):
        load_settings(overrides=[override], environment={"MM_PORT": "1"})


def test_settings_of_tests_and_tools_are_no_settings() -> None:
    assert load_settings(
        environment={"MM_TEST_SEED": "1", "MM_SAMPLE_DATA": "x", "MM_KERNEL_CACHE": "y"}
    ) == load_settings(environment={})


def test_a_value_may_come_from_a_file_that_a_variable_names(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://u:p@h/n\n")
    found = load_settings(environment={"MM_DATABASE_URL_FILE": str(secret), "MM_SIMULATOR__SEED": "7"})
    assert (found.database_url, found.simulator.seed) == ("postgresql://u:p@h/n", 7)
    sources = setting_sources(environment={"MM_DATABASE_URL_FILE": str(secret)}, overrides=["port=1"])
    assert sources == {"database_url": "environment MM_DATABASE_URL_FILE", "port": "command line"}
    with pytest.raises(InvalidRequest, match=r"MM_DATABASE_URL_FILE: .*none is not allowed"):
        load_settings(environment={"MM_DATABASE_URL_FILE": str(tmp_path / "none")})
