"""The support file: what somebody who helps needs to know, and nothing about anybody.

Settings are kept by an allow-list: numbers, switches and words out of a list stay; of everything that a site wrote itself
only whether it is set. Whatever names a server, a client, a file or a person in the settings is taken out of the rest, too.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from hl7bridge import __version__
from hl7bridge.assemble.stores import engine_of, opened
from hl7bridge.errors import ConfigError, StoreError
from hl7bridge.model import write_json

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.desk.setup.examination import Diagnosis, Examined

LIBRARIES = (
    "Twisted",
    "httpx",
    "PyJWT",
    "pysqlite3",
    "cryptography",
    "truststore",
    "pydantic",
    "typer",
    "rich",
    "structlog",
    "hl7apy",
)

# Of a log line: figures and our own words. Peers, hosts, paths and texts stay behind.
LOGGED: tuple[str, ...] = (
    "role",
    "feed",
    "destination",
    "code",
    "local",
    "status",
    "state",
    "count",
    "records",
    "message_id",
)
LOGGED += ("delivery_id", "attempts", "seconds", "bytes", "mode", "reason", "lost", "exit_code", "pid", "port")
_LONGEST_LOG = 4 * 1024 * 1024  # bytes that are read from the end of the log
_SHORTEST = 3  # characters; what is shorter is no name that could be told from a word


@dataclass(slots=True)
class Redaction:
    """Takes out of a text what the settings name. `masks`: name -> what stands in its place."""

    masks: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings, keep_hosts: bool) -> Redaction:
        """Hosts become host-1, host-2 ... (unless they are kept), everything else that a site wrote becomes (set)."""
        names: list[str] = []
        hosts: list[str] = []
        sections = [settings.service, settings.store, settings.log, *settings.feeds.values()]
        for section in [*sections, *settings.destinations.values()]:
            for _, value in _free_texts(section):
                host = (urlsplit(value).hostname or "") if "://" in value else ""
                hosts += [host] if host else []
                names += [] if host else [value]
        kept = {"", *settings.feeds, *settings.destinations}
        masks = {name: "(set)" for name in names if name not in kept and len(name) >= _SHORTEST}
        masks |= {str(settings.directory): "(folder)"}
        if not keep_hosts:
            masks |= {host: f"host-{number}" for number, host in enumerate(dict.fromkeys(hosts), 1)}
        return cls(masks)

    def text(self, text: str) -> str:
        """The text without them; the longest first, so that no rest of one remains."""
        for name in sorted(self.masks, key=len, reverse=True):
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", self.masks[name], text, flags=re.IGNORECASE)
        return text

    def json(self, value: Any) -> Any:
        """A JSON value with all its texts, names of members included, redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.json(item) for name, item in value.items()}
        return [self.json(item) for item in value] if isinstance(value, list | tuple) else value


def write_bundle(
    file: Path, settings: Settings, results: Sequence[Examined], *, keep_hosts: bool = False, log_lines: int = 500
) -> None:
    """Write the support file. `results`: of an examination. Raises ConfigError where it exists already."""
    redaction = Redaction.of(settings, keep_hosts)
    parts = {
        "versions.json": write_json(_versions()),
        "settings.json": write_json(_settings(settings, redaction, keep_hosts)),
        "store.json": write_json(redaction.json(_store(settings))),
        "doctor.json": write_json({"destinations": [_without_answers(one, redaction, keep_hosts) for one in results]}),
        "log.jsonl": redaction.text("".join(write_json(line) + "\n" for line in _log(settings, log_lines))),
    }
    try:
        made = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)  # for whoever made it, and nobody else here
        with os.fdopen(made, "w+b") as whole, zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, text in parts.items():
                bundle.writestr(f"hl7bridge-support/{name}", text)
    except FileExistsError:
        raise ConfigError("exists already", file=str(file), advice="Choose another name.") from None


def _versions() -> dict[str, Any]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    system = {"python": sys.version.split()[0], "system": platform.system(), "release": platform.release()}
    return {"hl7bridge": __version__, **system, "machine": platform.machine(), "libraries": found}


# --- settings --------------------------------------------------------------------------------------------------------


def _settings(settings: Settings, redaction: Redaction, keep_hosts: bool) -> dict[str, Any]:
    top = {"service": settings.service, "store": settings.store, "log": settings.log}
    found = {name: _section(section, redaction, keep_hosts) for name, section in top.items()}
    for kind in ("feeds", "destinations"):
        found[kind] = {name: _section(one, redaction, keep_hosts) for name, one in getattr(settings, kind).items()}
    return found


def _section(section: Any, redaction: Redaction, keep_hosts: bool) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, about in type(section).model_fields.items():
        value = getattr(section, key)
        if hasattr(type(value), "model_fields"):
            kept[key] = _section(value, redaction, keep_hosts)
        elif isinstance(value, bool | int | float) or (
            get_origin(about.annotation) is Literal and _is_word(about, value)
        ):
            kept[key] = value
        elif key == "base_url" and isinstance(value, str):
            parts = urlsplit(value)
            kept[key] = value if keep_hosts else redaction.text(f"{parts.scheme}://{parts.hostname}")
        elif isinstance(value, Mapping | list | tuple | frozenset | set):
            kept[key] = f"{len(value)} set"
        elif key != "name":
            kept[key] = "set" if value else "not set"
    return kept


def _is_word(about: Any, value: Any) -> bool:
    return value in get_args(about.annotation)


def _free_texts(section: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text that a site wrote itself, in whatever list or table it stands: (key, text)."""
    for key, about in type(section).model_fields.items():
        value = getattr(section, key)
        if get_origin(about.annotation) is Literal or (key == "name" and not path):
            continue
        if hasattr(type(value), "model_fields"):
            yield from _free_texts(value, f"{path}{key}.")
        else:
            yield from ((f"{path}{key}", text) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _texts(item)
    elif isinstance(value, list | tuple | frozenset | set):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool | int | float):
        yield str(value)
        last: object = getattr(value, "name", None)  # of a path or a reference to a secret, also its last part
        if isinstance(last, str):
            yield last


# --- store and log ---------------------------------------------------------------------------------------------------


def _store(settings: Settings) -> dict[str, Any]:
    """Counts alone, and the number of the schema (a store that is opened is brought up to it)."""
    try:
        with opened(settings) as store:
            return {"schema": engine_of(settings.store.path).schema, **store.audit.counts()}
    except (ConfigError, StoreError) as error:
        return {"error": type(error).__name__}


_URL_HOST = re.compile(r"(?<=://)(?!host-\d)[^\s/,;]+")


def _without_answers(examined: Examined, redaction: Redaction, keep_hosts: bool) -> dict[str, Any]:
    """A destination's results without ids that the server gave to people, and without hosts that it named."""

    def masked(diagnosis: Diagnosis) -> dict[str, Any]:
        data: dict[str, Any] = redaction.json(diagnosis.data())
        if diagnosis.of_people or (diagnosis.of_hosts and not keep_hosts):
            return {**data, "text": ""}
        if keep_hosts:
            return data
        texts = {name: _URL_HOST.sub("(host)", data[name]) for name in ("text", "cause")}
        return {**data, **texts, "fixes": [_URL_HOST.sub("(host)", fix) for fix in data["fixes"]]}

    return {
        "name": redaction.text(examined.name),
        "mode": redaction.text(examined.mode),
        "checks": [masked(one) for one in examined.diagnoses],
    }


def _log(settings: Settings, lines: int) -> Iterator[dict[str, Any]]:
    """The end of the log file, of each line what it may hold; lines that are no log lines of ours are left out."""
    path = settings.log.file
    if path is None or not path.is_file() or not lines:
        return
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - _LONGEST_LOG))
        last = log.read().decode("utf-8", "replace").splitlines()[-lines:]
    for line in last:
        kept = _from_json(line) if line.startswith("{") else _from_console(line)
        if kept is not None:
            yield kept


_EVENT = re.compile(r"[A-Za-z][A-Za-z0-9 ,:'()-]{0,120}")
_VALUE = re.compile(r"[\w.:+-]{1,64}")
_CONSOLE = re.compile(
    r"(?P<timestamp>\d{4}-\d\d-\d\dT[\d:.]+Z) \[(?P<level>\w+) *\] (?P<event>[^=]*?) +(?P<rest>\w+=.*)?$"
)


def _from_json(line: str) -> dict[str, Any] | None:
    try:
        read = json.loads(line)
    except ValueError:
        return None
    return _kept(read) if isinstance(read, dict) else None


def _from_console(line: str) -> dict[str, Any] | None:
    match = _CONSOLE.match(line)
    if match is None:
        return None
    pairs = dict(re.findall(r"(\w+)=('[^']*'|\S+)", match["rest"] or ""))
    return _kept({**pairs, "timestamp": match["timestamp"], "level": match["level"], "event": match["event"].strip()})


def _kept(line: Mapping[str, Any]) -> dict[str, Any] | None:
    event = line.get("event")
    if not isinstance(event, str) or not _EVENT.fullmatch(event):
        return None
    kept: dict[str, Any] = {"event": event}
    for name in ("timestamp", "level", *LOGGED):
        value = line.get(name)
        if isinstance(value, bool | int | float) or (isinstance(value, str) and _VALUE.fullmatch(value)):
            kept[name] = value
    return kept
