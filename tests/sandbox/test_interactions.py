import pytest

from hl7bridge.sandbox.interactions import Asked, asked_by


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("GET", "metadata", Asked("capabilities")),
        ("GET", ".well-known/smart-configuration", Asked("smart-configuration")),
        ("GET", "Practitioner", Asked("search", "Practitioner")),
        ("POST", "Practitioner/_search", Asked("search", "Practitioner")),
        ("POST", "Practitioner", Asked("create", "Practitioner")),
        ("PUT", "Practitioner", Asked("update", "Practitioner")),
        ("GET", "Practitioner/1000", Asked("read", "Practitioner", "1000")),
        ("HEAD", "Practitioner/1000", Asked("read", "Practitioner", "1000")),
        ("PUT", "Practitioner/1000", Asked("update", "Practitioner", "1000")),
        ("PATCH", "Practitioner/1000", Asked("patch", "Practitioner", "1000")),
        ("DELETE", "Practitioner/1000", Asked("delete", "Practitioner", "1000")),
        ("GET", "Practitioner/1000/_history", Asked("history", "Practitioner", "1000")),
        ("GET", "Practitioner/1000/_history/2", Asked("vread", "Practitioner", "1000", "2")),
        ("GET", "Patient/7", Asked("read", "Patient", "7")),
        ("POST", "Practitioner/1000", Asked("other", "Practitioner")),
        ("GET", "Practitioner/1000/$everything", Asked("other", "Practitioner")),
        ("POST", "", Asked("other")),
        ("GET", "", Asked("other")),
        ("POST", "metadata", Asked("create", "metadata")),
    ],
)
def test_method_and_path_say_what_is_asked(method: str, path: str, asked: Asked) -> None:
    assert asked_by(method, path) == asked
