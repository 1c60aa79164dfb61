"""What the sandbox answers: an `Answer`, or a `Refused` that becomes an OperationOutcome (R4 operationoutcome.html)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hl7bridge.errors import Hl7BridgeError
from hl7bridge.model import JsonObject, write_json

FHIR_JSON = "application/fhir+json;charset=utf-8"


@dataclass(slots=True)
class Answer:
    """A response: status, body text (JSON unless `content_type` says otherwise) and headers."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = FHIR_JSON

    @classmethod
    def of(cls, status: int, value: object, headers: Mapping[str, str] | None = None) -> Answer:
        """An answer whose body is `value` as JSON."""
        return cls(status, write_json(value), dict(headers or {}))


class Refused(Hl7BridgeError):
    """A request that is answered with an OperationOutcome.

    `status` is the HTTP status, `code` an issue type of R4 (value set issue-type), `path` a FHIRPath to the element.
    """

    def __init__(
        self, status: int, code: str, text: str, *, path: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.code, self.path = status, code, path
        self.headers = dict(headers or {})

    def answer(self) -> Answer:
        """The response that says so."""
        return Answer.of(self.status, operation_outcome("error", self.code, str(self), self.path), self.headers)


def operation_outcome(severity: str, code: str, text: str, path: str = "") -> JsonObject:
    """An OperationOutcome with one issue."""
    issue: JsonObject = {"severity": severity, "code": code, "diagnostics": text}
    if path:
        issue["expression"] = [path]
    return {"resourceType": "OperationOutcome", "issue": [issue]}
