"""Each target on what failed once, on the samples, and on a few mutations of them; `python -m tests.fuzz` goes on."""

from __future__ import annotations

import itertools

import pytest

from hl7bridge.hl7.mllp import Decoder
from tests.examples import examples, seed
from tests.fuzz.mutating import CORPUS, seeds, stream
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_what_failed_once_and_the_samples_are_taken(target: str) -> None:
    for raw in seeds():
        TARGETS[target](raw)
        TARGETS[target](b"\x0b" + raw + b"\x1c\r")


@pytest.mark.parametrize("target", TARGETS)
def test_mutations_are_taken(target: str) -> None:
    for raw in itertools.islice(stream(seed()), examples(60)):
        TARGETS[target](raw)


def test_the_corpus_is_not_empty() -> None:
    assert list(CORPUS.iterdir())


def test_a_broken_promise_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The codec's target compares what it gets, and not itself with itself."""
    monkeypatch.setattr(Decoder, "receive_data", lambda self, data: self._buffer.extend(data[:40]))
    with pytest.raises(AssertionError):
        TARGETS["codec"](b"\x01" + b"MSH" * 20)
