"""What a destination's rules accept."""

from __future__ import annotations

import pytest

from hl7bridge.destinations.fhir.rules import DestinationRules, SmartRules, is_loopback, origin
from hl7bridge.errors import ConfigError


@pytest.mark.parametrize(
    "url",
    [
        "https://fhir.example.org/r4",
        "https://fhir.example.org:8443/r4/",
        "http://127.0.0.1:8080/fhir",
        "http://localhost/fhir",
        "http://[::1]:9/fhir",
    ],
)
def test_addresses_that_are_taken(url: str) -> None:
    assert DestinationRules("ehr", url).base_url == url


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://fhir.example.org/r4", "plain http"),
        ("http://127.0.0.1.example.org/r4", "plain http"),
        ("ftp://fhir.example.org", "https address"),
        ("fhir.example.org/r4", "https address"),
        ("https://", "https address"),
        ("https://user:secret@fhir.example.org/r4", "user name"),
        ("https://fhir.example.org/r4?tenant=1", "query"),
        ("https://fhir.example.org/r4?", "query"),
        ("https://fhir.example.org/r4#top", "query or fragment"),
        ("https://fhir.example.org:port/r4", "not a URL"),
    ],
)
def test_addresses_that_are_refused(url: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        DestinationRules("ehr", url)
    assert caught.value.key == "base_url"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["mode", "on_drift", "lifecycle_scope", "search_method"])
def test_unknown_words(key: str) -> None:
    with pytest.raises(ConfigError, match="not one of") as caught:
        DestinationRules("ehr", "https://fhir.example.org", **{key: "sometimes"})  # type: ignore[arg-type]
    assert caught.value.key == key


def test_smart_rules_need_a_client_id_and_a_sound_token_url() -> None:
    with pytest.raises(ConfigError) as caught:
        SmartRules("https://fhir.example.org", "")
    assert caught.value.key == "client_id"
    with pytest.raises(ConfigError) as caught:
        SmartRules("https://fhir.example.org", "app", token_url="http://idp.example.org/token")
    assert caught.value.key == "token_url"


def test_origins() -> None:
    assert origin("https://a.example/x") == origin("https://A.example:443/y")
    assert origin("https://a.example") != origin("http://a.example")
    assert origin("https://a.example") != origin("https://a.example:444")
    assert not is_loopback("127.0.0.1.example")


def test_rank_in_owners() -> None:
    rules = DestinationRules("ehr", "https://fhir.example.org", owners={"telecom": ("hr", "badge")})
    assert [rules.rank("telecom", feed) for feed in ("hr", "badge", "other")] == [0, 1, 2]
    assert rules.rank("name", "hr") == rules.rank("name", "other") == 0
