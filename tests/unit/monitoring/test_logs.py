"""Logs: no secret comes through (promise R17), lines are JSON, causes are bound."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from market_maker.monitoring.logs import (
    bind_correlation,
    configure_logging,
    correlation_id,
    mask_secrets,
    mask_url,
    reset_correlation,
)

SECRET = "pl4nted-S3cret"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    level = root.level
    stream = io.StringIO()
    configure_logging("DEBUG", "json", stream)
    yield stream
    for handler in [handler for handler in root.handlers if getattr(handler, "market_maker", False)]:
        root.removeHandler(handler)
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        (f"amqp://guest:{SECRET}@host:5672/vhost", "amqp://guest:***@host:5672/vhost"),
        (f"postgresql://user:{SECRET}@/db?host=/run", "postgresql://user:***@/db?host=/run"),
        (f"postgresql+psycopg://user:{SECRET}@h/db", "postgresql+psycopg://user:***@h/db"),
        (f"amqps://u:{SECRET}@x@host/", "amqps://u:***@host/"),
        (f"amqp://:{SECRET}@host/", "amqp://:***@host/"),
        (
            f"postgresql://h/db?user=u&password={SECRET}&sslmode=require",
            "postgresql://h/db?user=u&password=***&sslmode=require",
        ),
        ("postgresql://user@host:5432/db", "postgresql://user@host:5432/db"),
        ("http://127.0.0.1:8000/api/v1", "http://127.0.0.1:8000/api/v1"),
    ],
)
def test_urls_keep_everything_but_the_secret(url: str, masked: str) -> None:
    assert mask_url(url) == masked


@pytest.mark.parametrize(
    "text",
    [
        f"host=h user=u password={SECRET} dbname=d",
        f"host=h password='{SECRET} with space' dbname=d",
        f"cannot reach amqp://a:{SECRET}@h/ nor amqp://b:{SECRET}@h/",
        f"Authorization: Bearer {SECRET}",
        f"authorization=Basic {SECRET}",
        f'api_key: "{SECRET}"',
        f"GET /stream?token={SECRET}&x=1",
        f'{{"password": "{SECRET}"}}',
        f"X-API-Key: {SECRET}",
    ],
)
def test_secrets_in_texts_are_masked(text: str) -> None:
    assert SECRET not in mask_secrets(text)


def test_no_planted_secret_reaches_a_line(lines: io.StringIO) -> None:
    log = structlog.get_logger("test")
    log.info("connecting to amqp://u:" + SECRET + "@h/")  # noqa: G003 (what a careless author writes)
    log.info("settings", password=SECRET, nested={"api_key": SECRET, "dsn": f"postgresql://u:{SECRET}@h/d"})
    log.info("list", values=[f"amqp://u:{SECRET}@h/", (f"token={SECRET}",)])
    try:
        raise RuntimeError(f"cannot reach postgresql://u:{SECRET}@h/d")
    except RuntimeError as error:
        log.exception("failed", error=error)
        logging.getLogger("library").exception("library failed for %s", f"amqp://u:{SECRET}@h/")
    logging.getLogger("library").warning("header Authorization: Bearer %s", SECRET)
    written = lines.getvalue()
    assert SECRET not in written
    found = [json.loads(line) for line in written.splitlines()]
    assert len(found) == 6
    assert found[1] == {
        "event": "settings", "password": "***", "nested": {"api_key": "***", "dsn": "postgresql://u:***@h/d"},
        "level": "info", "logger": "test", "time": found[1]["time"],
    }  # fmt: skip
    assert found[1]["time"].endswith("Z")
    assert "Traceback" in found[3]["exception"]


async def test_a_correlation_id_belongs_to_its_task(lines: io.StringIO) -> None:
    log = structlog.get_logger("test")

    async def work(name: str) -> None:
        bind_correlation(name)
        await asyncio.sleep(0)
        log.info("working")
        assert correlation_id() == name

    await asyncio.gather(work("one"), work("two"))
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line["correlation_id"] for line in found if line["event"] == "working"] == ["one", "two"]
    token = bind_correlation("three")
    reset_correlation(token)
    assert correlation_id() is None


def test_the_level_is_kept_and_setting_up_again_replaces(lines: io.StringIO) -> None:
    again = io.StringIO()
    configure_logging("WARNING", "console", again)
    structlog.get_logger("test").info("quiet")
    structlog.get_logger("test").warning("loud", url=f"amqp://u:{SECRET}@h/")
    assert "loud" not in lines.getvalue()
    assert "loud" in again.getvalue()
    assert "quiet" not in again.getvalue()
    assert SECRET not in again.getvalue()
