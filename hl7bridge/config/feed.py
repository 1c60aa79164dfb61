"""The keys of conf/feeds/NAME.toml: one staff feed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr

from hl7bridge.config.secrets import SecretReference
from hl7bridge.config.site_files import Site
from hl7bridge.config.site_map import SiteMapSettings
from hl7bridge.config.values import (
    Code,
    Duration,
    DurationOrNone,
    Names,
    Notation,
    Section,
    Size,
    Uri,
    Version,
    certificate_name,
    charset_name,
    is_loopback,
    network,
    path_of,
    peer_address,
    setting,
    several,
    sub_folder,
    time_zone,
    tls_key,
)


class TlsSettings(Section):
    """MLLP over TLS: the listener's certificate, and who may connect and send as whom."""

    certificate: Annotated[Path | None, BeforeValidator(path_of), Notation("path")] = setting(
        "", "PEM file of the listener's certificate, with those between it and its authority; empty = no TLS"
    )
    key: Annotated[SecretReference | None, BeforeValidator(tls_key), Notation("reference")] = setting(
        "", 'its private key (PEM), by reference: "file:keys/listener.key"'
    )
    minimum: Literal["1.2", "1.3"] = setting("1.2", "the oldest version of TLS that is spoken")
    client_ca: Annotated[Path | None, BeforeValidator(path_of), Notation("path")] = setting(
        "", "PEM file of the authorities whose certificates senders must show; empty = none is asked for"
    )
    peers: Annotated[
        dict[Annotated[str, AfterValidator(certificate_name)], Names], Notation("name = list of senders")
    ] = setting({}, 'who may send as whom: "cn:NAME", "san:NAME" or "sha256:FINGERPRINT" = ["MSH-3", "MSH-3|MSH-4"]')


class ListenerSettings(Section):
    """Where the feed's engine connects to (MLLP)."""

    host: Annotated[str, Field(pattern=r"^\S+$")] = setting(
        "127.0.0.1", "address to listen on; 0.0.0.0 lets other machines connect"
    )
    port: Annotated[int, Field(ge=0, le=65535), Notation("port")] = Field(
        description="TCP port to listen on; 0 = one that the system chooses"
    )
    allow: Annotated[
        tuple[Annotated[str, AfterValidator(network)], ...], BeforeValidator(several), Notation("list of networks")
    ] = setting((), "networks (CIDR) whose connections are taken; empty = every one")
    max_frame: Size = setting("10MiB", "largest message; a larger one is refused and skipped")
    max_connections: Annotated[int, Field(ge=1)] = setting(
        64, "connections at one time; those that are used least give way to a new one"
    )
    max_connections_per_host: Annotated[int, Field(ge=0)] = setting(
        0, "of these, as many as one address may hold (IPv6: one network of 64 bits); 0 = all"
    )
    frame_timeout: Duration = setting("30s", "a message that began must end within this time, or is refused")
    frame_rate: Size = setting(
        "256B", "and so much of it must come each second, over any 10 seconds, or it is refused; 0B = no such rule"
    )
    answer_timeout: DurationOrNone = setting(
        "30s", "a connection whose sender does not read its answers is closed after this time; 0s = never"
    )
    idle_timeout: DurationOrNone = setting("0s", "a connection silent for so long is closed; 0s = never")
    end_of_block_timeout: Duration = setting("2s", "wait for the CR after FS; then the message counts as complete")
    plain: Literal["loopback", "allow"] = setting(
        "loopback", "without TLS: only to this machine itself, or allow it on any address"
    )
    tls: TlsSettings = Field(default_factory=dict, validate_default=True)

    @property
    def in_the_clear(self) -> bool:
        """Whether messages would come from other machines without TLS, and nobody said that they may."""
        return self.tls.certificate is None and self.plain != "allow" and not is_loopback(self.host)


class Hl7Settings(Section):
    """How the feed's messages are read."""

    charset: Annotated[
        tuple[Annotated[str, AfterValidator(charset_name)], ...],
        BeforeValidator(several),
        Field(min_length=1),
        Notation("name, or list of names"),
    ] = setting("utf-8", "character set where MSH-18 is empty; a list is tried in order")
    fallback_version: Version = setting("2.5.1", "HL7 version where MSH-12 is empty")
    key_system: Uri = Field(
        description="code system of this feed's staff keys (STF-1); never change it once people have been written"
    )
    timezone: Annotated[str, AfterValidator(time_zone), Notation("time zone")] = setting(
        "UTC", "time zone of times without an offset"
    )
    takes: Annotated[
        tuple[Literal["staff", "adt"], ...], BeforeValidator(several), Field(min_length=1), Notation("list of names")
    ] = setting("staff", 'what comes on it: "staff" (MFN, PMU), "adt" (practitioners in patient messages), or both')
    unsupported: Literal["reject", "ignore"] = setting(
        "reject",
        "messages of other types: reject = AR; ignore = AA and counted (the default of a feed that takes ADT); what may be"
        " about staff is always refused",
    )


class LimitSettings(Section):
    """How much of a kind a message may hold; with more it, or the record, is refused (198)."""

    max_segments: Annotated[int, Field(ge=100)] = setting(500_000, "segments of one message")
    max_record_segments: Annotated[int, Field(ge=10)] = setting(1000, "segments of one record")
    max_repetitions: Annotated[int, Field(ge=10)] = setting(500, "repetitions of one field")
    max_records_per_key: Annotated[int, Field(ge=1)] = setting(
        100, "records of one person in one message; further ones are refused"
    )


class CodeSettings(Section):
    """MSA-1 in original mode, by the reason of a refusal."""

    content: Code = setting("AE", "unreadable or unmappable content")
    unsupported: Code = setting("AR", "type, event, version or processing id that is not taken")
    unavailable: Literal["AR", "AE", "close"] = setting(
        "AR", "storage failed, stopping; close = no answer, for engines that skip a message on any NAK"
    )
    mixed: Literal["AE", "AA"] = setting("AE", "some records of the message are good, some are not")

    def items(self) -> Iterable[tuple[str, str]]:
        """(reason, code) pairs; the reasons are those of `model.Refusal`."""
        return tuple(self.model_dump().items())


class AcknowledgmentSettings(Section):
    """When and how the feed's messages are answered."""

    mode: Literal["as-asked", "original", "enhanced"] = setting(
        "as-asked",
        "answers as MSH-15/16 ask; original = one answer, whatever they ask; enhanced = empty ones count as AL",
    )
    acknowledge_when: Literal["stored", "delivered"] = setting(
        "stored", "answer when the message is safe on disk, or when the destination's answer is known"
    )
    ack_deadline: Duration = setting("4s", "the longest wait for outcomes; keep it below the sender's own limit")
    when_pending: Literal["accept", "refuse"] = setting(
        "accept", "at the deadline: accept and say so, or refuse and withdraw what has not been sent"
    )
    acknowledge_for: Names = setting((), "destinations whose outcome counts; empty = all of the feed")
    application_acknowledgment_to: Annotated[str, AfterValidator(peer_address), Notation("host:port")] = setting(
        "", "enhanced mode: where a late application acknowledgment goes when its connection is gone"
    )
    duplicate_window: DurationOrNone = setting(
        "7d", "the same message again within this time has no second effect; 0s = no such rule"
    )
    codes: CodeSettings = CodeSettings()


class AdtSettings(Section):
    """What patient messages may do, where the feed takes them."""

    recheck: Duration = setting(
        "1d", "how long a destination is not asked again about a practitioner whom patient messages name"
    )


class FullFileSettings(Section):
    """A message that replaces the whole file (MFI-3 REP): people of the feed who are absent from it."""

    deactivate_missing: Literal["never", "report", "hold"] = setting(
        "report", "who is absent from a whole file: not looked for, listed in a task, or their deactivation held"
    )
    max_missing_percent: Annotated[float, Field(ge=0, le=100)] = setting(
        5.0, "when more percent of the active people are absent, nothing is held"
    )


class DropSettings(Section):
    """A folder whose files of messages are taken like those that come by MLLP; nobody is answered."""

    folder: Annotated[Path | None, BeforeValidator(path_of), Notation("path")] = setting(
        "", "where files of messages are dropped; empty = nowhere"
    )
    pattern: Annotated[str, AfterValidator(sub_folder), Notation("pattern")] = setting(
        "*.hl7", "names of the files that are taken, in the order of their names"
    )
    settle: Duration = setting("2s", "a file is taken once its size and time have been the same for so long")
    done: Annotated[str, AfterValidator(sub_folder), Notation("name")] = setting(
        "done", "the folder in it for files of which every message was taken"
    )
    failed: Annotated[str, AfterValidator(sub_folder), Notation("name")] = setting(
        "failed", "the folder in it for files with a refused message, or that seem to be cut off"
    )


class Feed(Section):
    """One staff feed. `name` is the file's name."""

    name: str = ""
    destinations: Annotated[Names, Field(min_length=1), Notation("list of names")] = Field(
        description="where its changes go: names of files in conf/destinations"
    )
    map: str = setting("", "the sender's dialect: the name of a file in conf/maps; empty = as the standard says")
    listener: ListenerSettings
    hl7: Hl7Settings
    acknowledgment: AcknowledgmentSettings = AcknowledgmentSettings()
    adt: AdtSettings = AdtSettings()
    drop: DropSettings = Field(default_factory=dict, validate_default=True)
    full_file: FullFileSettings = FullFileSettings()
    limits: LimitSettings = LimitSettings()
    authorities: Annotated[dict[str, Uri], Notation("name = URI")] = setting(
        {}, "identifier system of an assigning authority, by the name that the sender gives it"
    )
    tables: Annotated[dict[str, dict[str, str]], Notation("table of code = code")] = setting(
        {}, 'local codes, by HL7 table number: [tables.0182] "DR" = "MD"'
    )

    _site: Site | None = PrivateAttr(None)

    @property
    def file(self) -> str:
        """The feed's file, as errors name it."""
        return f"conf/feeds/{self.name}.toml"

    @property
    def site(self) -> Site:
        """The map that `map` names, with its tables; an empty one where it names none."""
        return self._site or Site(SiteMapSettings(name=self.map or "none"))

    def adopt(self, site: Site) -> None:
        """Give the feed the map that it names, once, while the files are read."""
        self._site = site

    def where(self, key: str) -> str:
        """The file (and line, in a map) that a mapping setting of this feed comes from."""
        section, _, rest = key.partition(".")
        number, _, code = rest.partition(".")
        own = rest in self.authorities if section == "authorities" else code in self.tables.get(number, {})
        known = section in SiteMapSettings.model_fields and self._site is not None and not own
        return self.site.where(key) if known else self.file
