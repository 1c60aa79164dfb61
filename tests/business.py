"""What a staff bridge has any business with at a FHIR server. Whatever a test is about, its servers, sandboxes and proxies
fail it for any other request of the bridge: no patient, no DELETE, no other origin's token."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

AGENT = "hl7bridge"  # the bridge's User-Agent: what tests ask by themselves is theirs to answer for
TOKEN = "/oauth2/token"
PROPER = re.compile(
    r"GET (/metadata|/\.well-known/smart-configuration|/Practitioner(Role)?(/[^/?]+|/?\?.*)?|/?\?.+)"
    r"|GET /[a-z0-9_.~-]+(/[^?]*)?\?.+"  # a next page at a path of the server's own
    r"|POST /Practitioner(Role)?(/_search)?|PUT /Practitioner(Role)?/[^/?]+"
)


def improper(lines: Iterable[str]) -> list[str]:
    """Those of the requests ("GET /Practitioner?identifier=...", below the base) that are none of its business."""
    return [line for line in lines if not PROPER.fullmatch(line)]


def improper_in(journal: Iterable[dict[str, Any]], base_path: str, *, auth: bool) -> list[str]:
    """The same of a sandbox's journal. `auth` False: it gave no token, so that each one it saw was another's."""
    wrong = []
    for entry in journal:
        if entry.get("agent") != AGENT:
            continue
        line = f"{entry['method']} {entry['path'].removeprefix(base_path)}"
        query = "&".join(f"{name}=" for name in entry.get("parameters", ()))
        foreign = entry["with_token"] and (not auth or entry["path"] == TOKEN)
        if line != f"POST {TOKEN}":
            wrong += improper([f"{line}?{query}" if query else line])
        wrong += [f"{line} with another's token"] if foreign else []
    return wrong
