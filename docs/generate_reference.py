"""Write docs/reference/* from the code, so that the pages cannot disagree with it.

Knows where each list lives (settings, metrics, routes, events, importers, quality rules, strategies) and how to lay it out; knows nothing of
their meaning. `--check` writes nothing and fails, naming the pages, when one of them is not what would be written.
"""

from __future__ import annotations

import enum
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

FOLDER = Path(__file__).resolve().parent / "reference"
NOTE = "*Written by `make reference` from `{source}`.*\n"
SETTINGS_NOTE = """\
Later sources win: default, YAML file (`MM_CONFIG` or `--config`), environment, command line
(`--set simulator.execution_delay=50ms`). A variable with `_FILE` at its end names a file that holds the value, as secrets
are given to containers: `MM_DATABASE_URL_FILE`. Unknown keys and wrong values stop the start and are named.
"""
EVENTS_NOTE = """\
Published to the topic exchange `{exchange}` and on the WebSocket stream, with these routing keys. At least once, in
order per aggregate; the `id` of an event never changes: drop what you have seen.
"""


def setting_names(model: type[BaseModel] | None = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting's dotted key and its field."""
    if model is None:
        from market_maker.settings import Settings

        model = Settings
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from setting_names(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def settings_page() -> str:
    """Lay out every setting: key, environment variable, default, bounds, meaning."""
    from market_maker.settings import Settings

    defaults = Settings().model_dump(mode="json")
    lines = [
        "# Settings\n",
        NOTE.format(source="market_maker.settings"),
        SETTINGS_NOTE,
        "| setting | environment | default | allowed | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, field in setting_names():
        value: Any = defaults
        for key in name.split("."):
            value = value[key]
        variable = "MM_" + name.replace(".", "__").upper()
        lines.append(
            f"| `{name}` | `{variable}` | {shown(value)} | {cell(allowed(field))} | {cell(field.description or '')} |"
        )
    return "\n".join(lines) + "\n"


def allowed(field: Any) -> str:
    """Return the bounds of a pydantic field in words; empty when its type says everything."""
    signs = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "pattern": "matches"}
    bounds = []
    for bound in field.metadata:
        for attribute, words in signs.items():
            if getattr(bound, attribute, None) is not None:
                bounds.append(f"{words} `{bound_text(name_of_type(field), getattr(bound, attribute))}`")
    arguments = getattr(field.annotation, "__args__", ())
    choices = [item for item in arguments if isinstance(item, type) and issubclass(item, enum.Enum)]
    if get_origin(field.annotation) is tuple and choices:
        bounds.append("any of " + ", ".join(f"`{member.value}`" for member in choices[0]))
    return ", ".join(bounds)


def name_of_type(field: Any) -> str:
    """Return `duration` for settings in nanoseconds, else nothing."""
    from pydantic import PlainSerializer

    from market_maker.domain.units import format_duration

    serializers = [item for item in field.metadata if isinstance(item, PlainSerializer)]
    return "duration" if any(item.func is format_duration for item in serializers) else ""


def bound_text(kind: str, bound: Any) -> str:
    """Return a bound as users write it."""
    from market_maker.domain.units import format_duration

    return format_duration(bound) if kind == "duration" else str(bound)


def shown(value: Any) -> str:
    """Return a default as table text."""
    if value is None or value is PydanticUndefined or value in ([], ""):
        return "none"
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{value}`"


def cell(text: str) -> str:
    """Return `text` so that it stays in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def metrics_page() -> str:
    """Lay out every metric of /metrics."""
    from market_maker.monitoring.metrics import documented

    lines = [
        "# Metrics\n",
        NOTE.format(source="market_maker.monitoring.metrics"),
        "| metric | type | labels | unit | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for metric in documented():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {cell(metric.unit)} | {cell(metric.help)} |")
    return "\n".join(lines) + "\n"


def routes() -> Iterator[tuple[str, str, str]]:
    """Yield method, path and summary of every route, from the OpenAPI document."""
    from market_maker.api.app import openapi_document

    for path, methods in sorted(openapi_document()["paths"].items()):
        for method, operation in methods.items():
            if isinstance(operation, dict) and method in {"get", "post", "put", "patch", "delete"}:
                yield method.upper(), path, operation.get("description") or operation.get("summary") or ""


def routes_page() -> str:
    """Lay out every route of the API."""
    lines = [
        "# Routes\n",
        NOTE.format(source="market_maker.api"),
        "The running service describes requests and answers in full under `/openapi`.\n",
        "| method | path | what it does |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {method} | `{path}` | {cell(summary)} |" for method, path, summary in routes()]
    return "\n".join(lines) + "\n"


def events_page() -> str:
    """Lay out every event of the bus and the stream."""
    from market_maker.domain.events import EventType
    from market_maker.messaging import topics

    lines = [
        "# Events\n",
        NOTE.format(source="market_maker.messaging.topics"),
        EVENTS_NOTE.format(exchange=topics.EVENTS_EXCHANGE),
        "The shape of each is in the AsyncAPI document [asyncapi.json](asyncapi.json).\n",
        "| routing key | name |",
        "| --- | --- |",
    ]
    lines += [f"| `{topic.value}` | {topic.name} |" for topic in EventType]
    return "\n".join(lines) + "\n"


def asyncapi_page() -> str:
    """Write the AsyncAPI document."""
    from market_maker.api.asyncapi import asyncapi_document

    return json.dumps(asyncapi_document(), indent=1) + "\n"


def strategies_page() -> str:
    """Lay out every shipped strategy with its parameters."""
    from market_maker.strategies.contract import find_strategy, strategy_names

    lines = ["# Strategies\n", NOTE.format(source="market_maker.strategies")]
    for name in strategy_names():
        kind = find_strategy(name)
        lines += [
            f"## {name}\n",
            kind.summary + "\n",
            "| parameter | type | unit | default | range | meaning |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for parameter, facts in kind.schema()["properties"].items():
            bounds = f"{facts.get('minimum', '')} to {facts.get('maximum', '')}"
            lines.append(
                f"| `{parameter}` | {facts['type']} | {cell(str(facts.get('unit', '')))} | `{facts['default']}` |"
                f" {bounds} | {cell(facts.get('description', ''))} |"
            )
        lines.append("")
    return "\n".join(lines)


def importers_page() -> str:
    """Lay out every importer of market data, and the options of an import."""
    from market_maker.market_data.importers import importers

    lines = [
        "# Importers\n",
        NOTE.format(source="market_maker.market_data.importers"),
        (
            "The format of a file is found by its content; `--format` names it where content cannot tell. Files may be plain,"
            " gz, xz, bz2, zst, or inside a zip.\n"
        ),
        "| format | what it reads | version |",
        "| --- | --- | --- |",
    ]
    lines += [f"| `{name}` | {cell(found.TITLE)} | {found.VERSION} |" for name, found in importers().items()]
    return "\n".join(lines) + "\n"


def quality_page() -> str:
    """Lay out every rule of data quality with its thresholds."""
    from market_maker.market_data.quality import RULES

    lines = [
        "# Rules of data quality\n",
        NOTE.format(source="market_maker.market_data.quality"),
        (
            "A figure at or above a threshold warns, or fails. A failure stops an import, unless it is forced; what was forced"
            " is kept in the catalogue.\n"
        ),
        "| figure | warns from | fails from | meaning | repair |",
        "| --- | --- | --- | --- | --- |",
    ]
    for rule in RULES:
        warn, fail = ("never" if limit is None else f"{limit:g}" for limit in (rule.warn, rule.fail))
        repair = f"`{rule.remedy}`" if rule.remedy else ""
        lines.append(f"| `{rule.name}` | {warn} | {fail} | {cell(rule.meaning)} | {repair} |")
    return "\n".join(lines) + "\n"


PAGES: dict[str, tuple[str, Callable[[], str]]] = {
    "settings.md": ("market_maker.settings", settings_page),
    "metrics.md": ("market_maker.monitoring.metrics", metrics_page),
    "routes.md": ("market_maker.api.app", routes_page),
    "events.md": ("market_maker.messaging.topics", events_page),
    "asyncapi.json": ("market_maker.api.asyncapi", asyncapi_page),
    "importers.md": ("market_maker.market_data.importers", importers_page),
    "quality.md": ("market_maker.market_data.quality", quality_page),
    "strategies.md": ("market_maker.strategies.contract", strategies_page),
}


def pages() -> dict[str, str]:
    """Return the text of every page whose source exists."""
    return {name: build() for name, (source, build) in PAGES.items() if exists(source)}


def exists(module: str) -> bool:
    """Return whether `module` can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check compare them; return the exit status."""
    texts = pages()
    if arguments == ["--check"]:
        stale = [name for name, text in texts.items() if not same(FOLDER / name, text)]
        if stale:
            print(f"not what the code says: {', '.join(stale)} in docs/reference; run: make reference", file=sys.stderr)
        return 1 if stale else 0
    if arguments:
        print("usage: generate_reference.py [--check]", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


def same(path: Path, text: str) -> bool:
    """Return whether the file holds exactly `text`."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
