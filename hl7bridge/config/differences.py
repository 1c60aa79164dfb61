"""What differs between two configurations, key by key, for the record of what went live."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from hl7bridge.config.settings import Settings

_SHORT = 60  # characters of a value that is shown


def changes(before: Settings, after: Settings) -> Iterator[str]:
    """Each key that differs, as an operator reads it: `conf/destinations/ehr.toml: brake.per_hour 20 -> 50`."""
    for section in ("service", "store", "log", "tasks"):
        yield from _keys("conf/hl7bridge.toml", section, getattr(before, section), getattr(after, section))
    for kind in ("feeds", "destinations"):
        old, new = getattr(before, kind), getattr(after, kind)
        for name in sorted({*old, *new}):
            file = f"conf/{kind}/{name}.toml"
            if name in old and name in new:
                yield from _keys(file, "", old[name], new[name])
            else:
                yield f"{file}: {'new' if name in new else 'gone'}"
    for name in sorted({*before.maps, *after.maps}):
        if before.maps.get(name) != after.maps.get(name):
            yield f"conf/maps/{name}.toml"


def _keys(file: str, key: str, before: object, after: object) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, BaseModel) and isinstance(after, BaseModel):
        for name in type(after).model_fields:
            below = f"{key}.{name}" if key else name
            yield from _keys(file, below, getattr(before, name, None), getattr(after, name, None))
    elif key != "file":
        values = f" {_short(before)} -> {_short(after)}" if _is_short(before) and _is_short(after) else ""
        yield f"{file}: {key}{values}"


def _is_short(value: object) -> bool:
    return value is None or (isinstance(value, str | int | float) and len(str(value)) <= _SHORT)


def _short(value: object) -> str:
    return "nothing" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)
