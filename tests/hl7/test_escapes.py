"""Separators and escape sequences: mapping.md 7.2 row by row, and the inverse."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.hl7.escapes import Separators, drops_text, escape, separators_of, unescape
from tests.examples import examples

USUAL = Separators()
TRUNCATING = Separators(truncation="#")
AT = Separators("#", "@", "!", "/", "+")


@pytest.mark.parametrize(
    ("text", "separators", "expected"),
    [
        ("plain", USUAL, "plain"),
        (r"a\F\b", USUAL, "a|b"),
        (r"a\S\b", USUAL, "a^b"),
        (r"a\T\b", USUAL, "a&b"),
        (r"a\R\b", USUAL, "a~b"),
        (r"a\E\b", USUAL, "a\\b"),
        (r"a\P\b", TRUNCATING, "a#b"),
        (r"a\P\b", USUAL, r"a\P\b"),
        (r"\X41\\X42\ ", USUAL, "AB "),
        (r"\X4142\ ", USUAL, "AB "),
        (r"\X0D0A\ ", USUAL, "\r\n "),
        (r"caf\XC3A9\ ", USUAL, "café "),
        (r"caf\XC3\\XA9\ ", USUAL, "café "),
        (r"\XC3\ ", USUAL, r"\XC3\ "),
        (r"\X4\ ", USUAL, r"\X4\ "),
        (r"\XG1\ ", USUAL, r"\XG1\ "),
        (r"one\.br\two", USUAL, "one\ntwo"),
        (r"one\.BR\two", USUAL, "one\ntwo"),
        (r"one\.sp2\two", USUAL, r"one\.sp2\two"),
        (r"\H\bold\N\ text", USUAL, "bold text"),
        (r"\C2842\x\M2442\y\M242844\z\Z01\ ", USUAL, "xyz "),
        (r"\\server\Charts\Main\Zoe", USUAL, r"\\server\Charts\Main\Zoe"),
        (r"C:\temp", USUAL, r"C:\temp"),
        ("\\", USUAL, "\\"),
        (r"a\b\F\c", USUAL, r"a\b|c"),
        (r"\E\F\E\ ", USUAL, r"\F\ "),
        (r"\E\X41\E\ ", USUAL, r"\X41\ "),
        (r"\f\ ", USUAL, r"\f\ "),
        ("a/S/b/F/c", AT, "a@b#c"),
        (r"a\S\b", AT, r"a\S\b"),
        (r"a\F\b", Separators(escape=""), r"a\F\b"),
    ],
)
def test_unescape(text: str, separators: Separators, expected: str) -> None:
    assert unescape(text, separators) == expected


def test_hexadecimal_bytes_are_read_in_the_codec_of_the_message() -> None:
    assert unescape(r"\XE9\ ", USUAL, "iso8859-1") == "é "
    assert unescape(r"\X82A0\ ", USUAL, "shift_jis") == "あ "


@pytest.mark.parametrize(
    ("text", "separators", "expected"),
    [
        ("a|b^c~d\\e&f#", USUAL, r"a\F\b\S\c\R\d\E\e\T\f#"),
        ("#", TRUNCATING, r"\P\ ".strip()),
        ("one\r\ntwo", USUAL, r"one\X0D\\.br\two"),
        ("\x0b\x1c", USUAL, r"\X0B\\X1C\ ".strip()),
        ("a|b", AT, "a|b"),
        ("a#b@c/d", AT, "a/F/b/S/c/E/d"),
        ("a|b^c", Separators(escape=""), "a b c"),
    ],
)
def test_escape(text: str, separators: Separators, expected: str) -> None:
    assert escape(text, separators) == expected


@pytest.mark.parametrize(
    ("encoding_characters", "expected"),
    [
        ("^~\\&", Separators()),
        ("^~\\&#", Separators(truncation="#")),
        ("", Separators()),
        ("^", Separators(repetition="", escape="", subcomponent="")),
        ("^~", Separators(escape="", subcomponent="")),
        ("^~\\", Separators(subcomponent="")),
        ("^~\\\\&", Separators()),
        ("????", Separators(component="?", repetition="", escape="", subcomponent="")),
        ("^~\\&#!%", Separators(truncation="#")),
    ],
)
def test_msh_2(encoding_characters: str, expected: Separators) -> None:
    found = separators_of("|", encoding_characters)
    assert found == expected
    assert found.usable


def test_empty_msh_2_under_an_odd_field_separator() -> None:
    assert separators_of("^", "") == Separators("^", "", "~", "\\", "&")


@pytest.mark.parametrize("encoding_characters", ["0000", "^~0&", "^ \\&", "^é\\&", "^\x01\\&"])
def test_unusable_encoding_characters(encoding_characters: str) -> None:
    assert not separators_of("|", encoding_characters).usable


def test_left_out_sequences_are_told() -> None:
    assert drops_text(r"a\C2842\b", USUAL)
    assert drops_text(r"a\Z12\b", USUAL)
    assert not drops_text(r"a\H\b\F\c\Main\d", USUAL)
    assert not drops_text(r"a\Z12\b", AT)


_SEPARATORS = st.permutations("|^~\\&#!@/+").map(lambda characters: Separators(*characters[:6]))


@settings(max_examples=examples(80), deadline=None)
@given(st.text() | st.text(alphabet="|^~\\&#FSTREPXHNCMZ.br0A1\r\n\x0b\x1c"), _SEPARATORS | st.just(USUAL))
def test_unescape_undoes_escape(text: str, separators: Separators) -> None:
    escaped = escape(text, separators)
    assert unescape(escaped, separators) == text
    marks = separators.encoding_characters.replace(separators.escape, "") + separators.field + "\r\n\x0b\x1c"
    assert not set(escaped) & set(marks)


@settings(max_examples=examples(80), deadline=None)
@given(st.text(alphabet="|^~\\&FSTREPXHNCMZ.br0A1é"), _SEPARATORS | st.just(USUAL))
def test_unescape_takes_anything(text: str, separators: Separators) -> None:
    unescape(text, separators, "ascii")
    drops_text(text, separators)


def in_one_step(text: str, separators: Separators, codec: str) -> str:
    """`unescape` as one substitution: every run of bytes, however long, is one match."""
    mark, pair = re.escape(separators.escape), "(?:[0-9A-Fa-f]{2})+"
    silent = "C[0-9A-Fa-f]{4}|M[0-9A-Fa-f]{4}(?:[0-9A-Fa-f]{2})?|Z[0-9A-Fa-f]+"
    pattern = re.compile(f"{mark}(?:([FSTREHN]|\\.(?:br|BR))|(X{pair}(?:{mark}{mark}X{pair})*)|{silent}){mark}")

    def resolve(match: re.Match[str]) -> str:
        if match.group(2) is None:
            return unescape(match.group(0), separators) if match.group(1) else ""
        try:
            return bytes.fromhex(re.sub("[^0-9A-Fa-f]", "", match.group(2))).decode(codec)
        except ValueError:
            return match.group(0)

    return pattern.sub(resolve, text)


_PIECES = st.sampled_from(
    ["\\X41\\", "\\XC3\\", "\\XA4\\", "\\XC3A4\\", "\\XC\\", "\\T\\", "\\H\\", "\\", "\\Z1\\", "a", "X41"]
)


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(_PIECES, max_size=12).map("".join), st.sampled_from(["utf-8", "latin-1", "ascii"]))
def test_a_run_of_bytes_reads_the_same_however_it_is_cut(text: str, codec: str) -> None:
    assert unescape(text, USUAL, codec) == in_one_step(text, USUAL, codec)


@pytest.mark.parametrize("count", [998, 999, 1000, 1001, 1999, 2000, 2001, 5000])
def test_a_long_run_is_one_run_whatever_it_takes_to_find_it(count: int) -> None:
    text = "\\XC3\\\\XA4\\" * count
    assert unescape(f"a{text}b", USUAL) == f"a{'ä' * count}b"
    assert unescape(f"{text}\\XC3\\", USUAL) == f"{text}\\XC3\\"  # no character at its end: all of it is left as it was
