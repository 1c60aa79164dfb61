"""What an answer means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from hl7bridge.destinations.fhir.wire.replies import (
    ReplyKind,
    is_id,
    is_sound,
    issue_codes,
    kind_of_issues,
    kind_of_status,
    located,
    retry_after,
    version_of,
)

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (ReplyKind.DONE, (200, 201, 204)),
        (ReplyKind.REDIRECT, (301, 302, 303, 304, 307, 308)),
        (ReplyKind.PERMANENT, (400, 406, 413, 414, 415, 422, 505)),
        (ReplyKind.AUTH, (401,)),
        (ReplyKind.FORBIDDEN, (403,)),
        (ReplyKind.NOT_FOUND, (404,)),
        (ReplyKind.GONE, (410,)),
        (ReplyKind.DISABLED, (405, 501)),
        (ReplyKind.CONFLICT, (409, 412, 428)),
        (ReplyKind.TRANSIENT, (408, 423, 425, 429, 500, 502, 503, 504, 507, 599)),
    ],
)
def test_statuses(kind: ReplyKind, statuses: tuple[int, ...]) -> None:
    assert {kind_of_status(status) for status in statuses} == {kind}


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (("throttled",), ReplyKind.TRANSIENT),
        (("informational", "forbidden"), ReplyKind.FORBIDDEN),
        (("login",), ReplyKind.AUTH),
        (("not-supported",), ReplyKind.DISABLED),
        (("deleted",), ReplyKind.GONE),
        (("conflict",), ReplyKind.CONFLICT),
        (("invariant",), ReplyKind.PERMANENT),
        ((), ReplyKind.PERMANENT),
    ],
)
def test_issue_codes_of_an_error_in_success(codes: tuple[str, ...], kind: ReplyKind) -> None:
    assert kind_of_issues(codes) is kind


def test_only_codes_of_the_value_set_are_kept() -> None:
    outcome = {
        "issue": [
            {"severity": "error", "code": "value"},
            {"severity": "warning", "code": "CANARY"},
            {"severity": "fatal", "code": "value"},
            {"severity": "error", "code": 7},
            "nonsense",
        ]
    }
    assert issue_codes(outcome) == ("value", "processing")
    assert issue_codes({"issue": [{"severity": "warning", "code": "value"}]}, errors_only=True) == ()
    assert issue_codes({"issue": "none"}) == ()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "Wed, 04 Mar 2026 09:30:20 GMT"}, 20),
        ({"retry-after": "Wed, 04 Mar 2026 09:29:00 GMT"}, 0),
        ({"retry-after": "999999999"}, 3600),
        ({"retry-after": "Wed, 04 Mar 2099 09:30:20 GMT"}, 3600),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"x-ms-retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"x-ms-retry-after-ms": "x", "retry-after": "9"}, 9),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("e001.Ab-c", True),
        ("eYg3-1aEmCMq-umIIq2Njxw3" * 4, True),
        ("a=b+c", True),
        ("", False),
        ("..", False),
        (".", False),
        ("a/b", False),
        ("a?b", False),
        ("a b", False),
        ("a\n", False),
        ("x" * 257, False),
        (7, False),
        (None, False),
    ],
)
def test_ids(value: Any, expected: bool) -> None:
    assert is_id(value) is expected


@pytest.mark.parametrize(
    ("etag", "meta", "version"),
    [
        ('W/"3"', None, "3"),
        ('"3"', None, "3"),
        ("", {"versionId": "8"}, "8"),
        ('W/"3"', {"versionId": "8"}, "3"),
        ('W/"a"b"', {"versionId": "8"}, "8"),
        ("3", {"versionId": 'x"y'}, ""),
        ("", {"versionId": 8}, ""),
        ("", "meta", ""),
    ],
)
def test_versions(etag: str, meta: Any, version: str) -> None:
    assert version_of({"etag": etag}, {"meta": meta}) == version


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://inner.example/fhir/Practitioner/e1/_history/1", ("e1", "1")),
        ("Practitioner/e1", ("e1", "")),
        ("/r4/Practitioner/a%3Db/", ("a=b", "")),
        ("https://x/Patient/e1", ("", "")),
        ("https://x/Practitioner/..%2F..", ("", "")),
        ("https://x/Practitioner/", ("", "")),
        ("http://[broken/Practitioner/1", ("", "")),
        ("", ("", "")),
    ],
)
def test_locations(location: str, expected: tuple[str, str]) -> None:
    assert located(location, "Practitioner") == expected


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"resourceType": "Practitioner", "id": "1"}, True),
        ({"resourceType": "Practitioner", "id": "1", "telecom": [{}], "active": False}, True),
        ({"resourceType": "Patient", "id": "1"}, False),
        ({"resourceType": "Practitioner"}, False),
        ({"resourceType": "Practitioner", "id": "1", "telecom": {}}, False),
        ({"resourceType": "Practitioner", "id": "1", "name": ["x"]}, False),
        ({"resourceType": "Practitioner", "id": "1", "active": "yes"}, False),
        ({"resourceType": "Practitioner", "id": "1", "meta": []}, False),
        ({"resourceType": "PractitionerRole", "id": "1", "practitioner": "x"}, False),
        ({"resourceType": "PractitionerRole", "id": "1", "code": None}, False),
        (None, False),
    ],
)
def test_shape(resource: Any, expected: bool) -> None:
    assert is_sound(resource) is expected
