"""The keys of conf/hl7bridge.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from hl7bridge.config.values import Duration, Notation, Section, Size, path_of, setting, store_path


class ServiceSettings(Section):
    """The service as a whole."""

    processing_id: Literal["P", "T", "D"] = setting("P", "MSH-11 that is taken; another one is refused (202)")
    stop_timeout: Duration = setting("30s", "how long a stop waits for work that has begun")
    poll_interval: Duration = setting(
        "1s", "how often delivery looks into the store for work, beside the signal that a new message gives"
    )
    frame_memory: Size = setting(
        "64MiB", "memory of large messages that are coming in, over all connections; senders wait for their turn"
    )


class StoreSettings(Section):
    """The durable store."""

    path: Annotated[str, AfterValidator(store_path), Notation("path")] = setting(
        "data/hl7bridge.sqlite", "the file that keeps messages, deliveries and their history"
    )
    keep_free: Size = setting(
        "100MiB", "with less left on its disk (and less than keep_free_percent), messages are refused"
    )
    keep_free_percent: Annotated[float, Field(ge=0, le=90)] = setting(
        5.0, "the same as a part of the disk; 0 = messages are taken until it is full"
    )


class LogSettings(Section):
    """The log. It never holds message content."""

    level: Literal["debug", "info", "warning", "error"] = setting("info", "the least severity that is written")
    format: Literal["console", "json"] = setting("console", "for people, or one JSON object a line")
    file: Annotated[Path | None, BeforeValidator(path_of), Notation("path")] = setting(
        "", "where to write; empty = standard error"
    )


class ServiceFile(Section):
    service: ServiceSettings = ServiceSettings()
    store: StoreSettings = Field(default_factory=dict, validate_default=True)
    log: LogSettings = LogSettings()
