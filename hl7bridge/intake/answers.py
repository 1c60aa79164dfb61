"""The bytes of an answer to a message that was read, or could not be."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hl7bridge.hl7 import acknowledgment
from hl7bridge.hl7.echoing import V2_5, version_of
from hl7bridge.hl7.message import Header, Message
from hl7bridge.mapping.messages.master_file import echoed
from hl7bridge.model import Finding, Severity


def new_control_id() -> str:
    """A message control id of our own, unique without coordination (MSH-10, at most 20 characters before 2.7)."""
    return f"{time.time_ns() // 1_000_000:x}".upper()[-10:] + secrets.token_hex(5).upper()


def build(header: Header, kind: str, code: str, **given: Any) -> bytes:
    """`acknowledgment.build` as of now, with a control id of ours."""
    return acknowledgment.build(header, kind, code, control_id=new_control_id(), now=datetime.now(UTC), **given)


def application_with_lines(
    message: Message,
    kind: str,
    code: str,
    lines: Sequence[acknowledgment.MfaLine],
    findings: Sequence[Finding],
    text: str = "",
    *,
    fallback_version: str = "2.5.1",
) -> bytes:
    """An MFK (or ACK) with its MFA lines; MFI is echoed from the message, MFI-6 filters the lines.

    Findings that only inform (a local code sent as text) stay with us, for `map explain`: an ERR beside an AA makes people
    look, and nearly every message has some.
    """
    findings = [finding for finding in findings if finding.severity is not Severity.INFORMATION]
    master_file = message.first("MFI")
    echo, level = None, ""
    if master_file is not None:
        version = version_of(message.header.version) or version_of(fallback_version) or V2_5
        echo, level = echoed(master_file, message.separators, version)
    else:
        # Without MFA the text of the message says of its one record what is still to come, and no finding is of an MFE.
        findings = [finding if finding.location else finding._replace(position=0) for finding in findings]
        text = text or (lines[0].text if len(lines) == 1 and lines[0].success else "")
    return build(
        message.header,
        kind,
        code,
        findings=findings,
        text=text or (next((f.text for f in findings if f.severity == "E"), "")),
        records=lines,
        master_file=echo,
        response_level=level,
        codec=message.codec,
        fallback_version=fallback_version,
    )
