"""`hl7bridge init`: a first configuration, commented, ready to run against the sandbox. It never overwrites a file."""

from __future__ import annotations

import re
import uuid
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import hl7bridge
from hl7bridge.cli import output
from hl7bridge.cli.output import JsonOption
from hl7bridge.config.destination import PLACEHOLDER_CLIENT
from hl7bridge.errors import ConfigError

FILES: tuple[str, ...] = (
    "conf/hl7bridge.toml",
    "conf/feeds/staff.toml",
    "conf/destinations/ehr.toml",
    "conf/tasks/leaver-access.toml",
)
FILES += ("conf/maps/example.toml",)


class Profile(StrEnum):
    """A peer whose habits the first values suit."""

    EPIC = "epic"
    RHAPSODY = "rhapsody"
    MIRTH = "mirth"


_FEED, _DESTINATION = FILES[1], FILES[2]

# Per profile: file, section ("" = top), key, value as TOML.
STARTING_VALUES: dict[Profile, tuple[tuple[str, str, str, str], ...]] = {
    Profile.EPIC: (
        (_DESTINATION, "", "base_url", '"https://fhir.example.org/api/FHIR/R4"'),
        (_DESTINATION, "", "profile", '"epic"'),
        (_DESTINATION, "auth", "type", '"smart"'),
        (_DESTINATION, "auth", "client_id", f'"{PLACEHOLDER_CLIENT}"'),
        (_DESTINATION, "auth", "key", '"file:keys/ehr.pem"'),
        (_DESTINATION, "auth", "token_url", '"https://fhir.example.org/oauth2/token"'),
    ),
    # Both read one answer to each message, whatever MSH-15/16 ask: a second one would count as that to the next message.
    # Its communication point sends again or holds on AR, and waits long enough for any answer.
    Profile.RHAPSODY: (
        (_FEED, "", "map", '"rhapsody"'),
        (_FEED, "acknowledgment", "mode", '"original"'),
        (_FEED, "acknowledgment.codes", "unavailable", '"AR"'),
    ),
    # Its sender waits 5 s and goes on to the next message on any NAK: only a closed connection makes it send again.
    Profile.MIRTH: (
        (_FEED, "", "map", '"mirth"'),
        (_FEED, "acknowledgment", "mode", '"original"'),
        (_FEED, "acknowledgment", "ack_deadline", '"4s"'),
        (_FEED, "acknowledgment.codes", "unavailable", '"close"'),
    ),
}

# Time zones of Windows, by the name in its registry, for the regions where most installations are.
_WINDOWS_ZONES = {
    "Eastern Standard Time": "America/New_York",
    "US Eastern Standard Time": "America/Indiana/Indianapolis",
    "Central Standard Time": "America/Chicago",
    "Mountain Standard Time": "America/Denver",
    "US Mountain Standard Time": "America/Phoenix",
    "Pacific Standard Time": "America/Los_Angeles",
    "Alaskan Standard Time": "America/Anchorage",
    "Hawaiian Standard Time": "Pacific/Honolulu",
    "Atlantic Standard Time": "America/Halifax",
    "GMT Standard Time": "Europe/London",
    "W. Europe Standard Time": "Europe/Berlin",
    "Romance Standard Time": "Europe/Paris",
    "Central Europe Standard Time": "Europe/Budapest",
    "Central European Standard Time": "Europe/Warsaw",
    "AUS Eastern Standard Time": "Australia/Sydney",
    "New Zealand Standard Time": "Pacific/Auckland",
    "UTC": "UTC",
}


def packaged(name: str) -> Path:
    """A folder that travels with the package (`conf`, `sample_messages`): inside it once installed, beside it in a clone."""
    package = Path(hl7bridge.__file__).parent
    installed = package / "_data" / name
    return installed if installed.is_dir() else package.parent / name


def init(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write conf/.")] = Path(),
    profile: Annotated[
        list[Profile] | None, typer.Option("--profile", help="Starting values for a peer; may be given again.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a first configuration: commented files under DIR/conf, in mode report.

    \b
      hl7bridge init                              conf/ here, pointed at the sandbox
      hl7bridge init /srv/hl7bridge --profile epic --profile mirth
      hl7bridge check                             then: is all of it right?

    Each file explains its keys; data/ is where the store will be. The feed gets a code system of its own for staff keys
    and this machine's time zone. A file that exists is left as it is.
    """
    zone = machine_timezone()
    values = [
        (_FEED, "hl7", "key_system", f'"{uuid.uuid4().urn}"'),
        (_FEED, "hl7", "timezone", f'"{zone or "UTC"}"'),
        (_DESTINATION, "elements", "untyped_phone", '"withhold"'),
        *(value for name in profile or () for value in STARTING_VALUES[name]),
    ]
    written: list[str] = []
    left: list[str] = []
    (directory / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in (*FILES, *(f"conf/maps/{name}.toml" for name in dict.fromkeys(profile or ()))):
        path = directory / file
        text = (packaged("conf") / file.removeprefix("conf/")).read_text(encoding="utf-8")
        for _, section, key, value in (given for given in values if given[0] == file):
            text = set_key(text, section, key, value)
        (written if _write_new(path, text) else left).append(file)
    if as_json:
        output.show_json("init/1", {"directory": str(directory.absolute()), "written": written, "left": left})
        return
    for file in written:
        output.show((f"wrote {directory / file}", output.GOOD))
    for file in left:
        output.show(f"left  {directory / file} as it is")
    _tell_of_maps(directory, list(dict.fromkeys(profile or ())))
    if not zone and _FEED in written:
        output.say(f"This machine's time zone could not be told: {_FEED} says UTC. Correct hl7.timezone there.")
    if Profile.EPIC in (profile or ()) and _DESTINATION in written:
        output.say(f"Now put your server's addresses and client id into {_DESTINATION}, and make a key:")
        output.say(f"  hl7bridge keys generate {directory / 'keys' / 'ehr.pem'}")
    output.say("Next: hl7bridge check" + (f" {directory}" if directory != Path() else ""))


def _tell_of_maps(directory: Path, profiles: list[Profile]) -> None:
    """Which map the feed uses; how to use another one."""
    used = re.search(r'^map = "([^"]*)"', (directory / _FEED).read_text(encoding="utf-8"), re.MULTILINE)
    for profile in profiles:
        file = f"conf/maps/{profile}.toml"
        if used and used[1] == profile:
            output.say(f'{file} is used by {_FEED}: map = "{profile}"')
        else:
            output.say(f'{file} is used by no feed yet: write map = "{profile}" at the top of the file of a feed')


def set_key(text: str, section: str, key: str, value: str) -> str:
    """A TOML text with one key of a section ("" = the top) set, in place of its line or of its commented default."""
    current, lines = "", text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if header := re.fullmatch(r"\[([\w.-]+)\]\s*", line):
            current = header[1]
        elif current == section and re.match(rf"(?:# )?{re.escape(key)} = ", line):
            lines[number] = f"{key} = {value}\n"
            return "".join(lines)
    raise ConfigError(f"the template has no line for it: {section}.{key}")


def _write_new(path: Path, text: str) -> bool:
    """Write a file that must not exist yet; False when it does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def machine_timezone() -> str:
    """The IANA name of this machine's time zone; "" when it can't be told."""
    import os
    import sys
    import zoneinfo

    candidates = [os.environ.get("TZ", "").lstrip(":")]
    if sys.platform == "win32":
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\TimeZoneInformation") as key:
            candidates.append(_WINDOWS_ZONES.get(str(winreg.QueryValueEx(key, "TimeZoneKeyName")[0]).rstrip("\0"), ""))
    else:
        candidates.append(str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2])
        if Path("/etc/timezone").is_file():
            candidates.append(Path("/etc/timezone").read_text(encoding="utf-8", errors="replace").strip())
    for name in candidates:
        try:
            if name and zoneinfo.ZoneInfo(name):
                return name.removeprefix("Etc/") if name == "Etc/UTC" else name
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return ""
