"""Structured logs: one JSON object per line, or text for a person; no secrets, and what caused what.

Owns the form of log lines and the masking of secrets. Every module logs by ``structlog.get_logger``.
"""

from __future__ import annotations

import contextvars
import logging
import os
import pwd
import re
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "***"

_SECRET_NAMES = re.compile(
    r"passw(or)?d|passwd|secret|token|api[_-]?key|authorization|cookie|credential|private[_-]?key", re.IGNORECASE
)
# user:password@ of a URL; the password ends at the last @ before the host
_URL_PASSWORD = re.compile(
    r"(?P<head>\b[a-z][a-z0-9+.\-]*://[^\s:/@?#'\"]*):(?P<secret>[^\s'\"]*)@(?=[^\s@]*)", re.IGNORECASE
)
_QUERY_SECRET = re.compile(
    r"(?P<head>[?&](?:password|passfile|sslpassword|token|api_key|apikey|secret|access_token)=)(?P<secret>[^&\s#'\"]+)",
    re.IGNORECASE,
)
_KEYWORD_SECRET = re.compile(
    r"(?P<head>\b(?:password|passwd|sslpassword|secret|token|api[_-]?key)[\"']?\s*[=:]\s*)(?P<secret>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s,;&]+)",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(r"(?P<head>\b(?:Bearer|Basic)\s+)(?P<secret>[A-Za-z0-9._~+/=\-]{6,})", re.IGNORECASE)

_correlation_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("correlation_id", default=None)
_caller: contextvars.ContextVar[str | None] = contextvars.ContextVar("caller", default=None)


def configure_logging(
    level: str = "INFO", style: Literal["json", "console"] = "json", stream: TextIO | None = None
) -> None:
    """Set up logging for the whole process; calling again replaces the set-up.

    Parameters
    ----------
    level : least level shown: DEBUG, INFO, WARNING, ERROR
    style : one JSON object per line, or text for a person
    stream : standard error when None
    """
    output = stream if stream is not None else sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _add_correlation,
        structlog.processors.format_exc_info,
        mask_processor,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(sort_keys=False, default=_as_text)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=output.isatty())
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "market_maker", False):
            root.removeHandler(old)
    handler.market_maker = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    root.setLevel(level.upper())
    # The first three report each retry, and our own loops already do; the last one each of its plugins.
    for chatty in ("aio_pika", "aiormq", "asyncio", "alembic.runtime.plugins"):
        logging.getLogger(chatty).setLevel(logging.ERROR if level.upper() != "DEBUG" else logging.DEBUG)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def bind_correlation(correlation_id: str | None) -> contextvars.Token[str | None]:
    """Put `correlation_id` on every log line of this task from now on; the token resets it."""
    return _correlation_id.set(correlation_id)


def reset_correlation(token: contextvars.Token[str | None]) -> None:
    """Return to what was bound before."""
    _correlation_id.reset(token)


def bind_caller(name: str) -> None:
    """Let `caller` tell who asks, for the rest of this request."""
    _caller.set(name)


def bind_user() -> None:
    """Let `caller` tell whose command this is: the operating system's user, by the number that the kernel knows."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:  # a container may run as a number that has no name
        name = str(number)
    bind_caller(f"user {name}")


def caller() -> str | None:
    """Return who asks: the scope of an API key and the begin of its sha256, or the user of a command; None where no key is needed."""
    return _caller.get()


def correlation_id() -> str | None:
    """Return what caused the present work, None when unknown."""
    return _correlation_id.get()


def mask_url(url: str) -> str:
    """Return `url` with its password, and secrets in its query, replaced by ``***``."""
    masked = _URL_PASSWORD.sub(rf"\g<head>:{MASK}@", url)
    return _QUERY_SECRET.sub(rf"\g<head>{MASK}", masked)


def mask_secrets(text: str) -> str:
    """Return `text` with passwords of URLs and DSNs, keys and tokens replaced by ``***``."""
    masked = mask_url(text)
    masked = _KEYWORD_SECRET.sub(rf"\g<head>{MASK}", masked)
    return _AUTHORIZATION.sub(rf"\g<head>{MASK}", masked)


def mask_processor(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask every text of a log line, however deep, and every value whose name says that it is secret."""
    for key, value in event.items():
        event[key] = _masked(key, value)
    return event


def _masked(key: str, value: Any) -> Any:
    if _SECRET_NAMES.search(key) and value is not None and not isinstance(value, bool):
        return MASK
    if isinstance(value, str):
        return mask_secrets(value)
    if isinstance(value, dict):
        return {name: _masked(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", inner) for inner in value]
    if isinstance(value, BaseException):
        return mask_secrets(f"{type(value).__name__}: {value}")
    if value is None or isinstance(value, bool | int | float) or key.startswith("_"):
        return value
    return mask_secrets(str(value))


def _add_correlation(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    found = _correlation_id.get()
    if found is not None:
        event.setdefault("correlation_id", found)
    return event


def _as_text(value: object) -> str:
    return mask_secrets(str(value))
