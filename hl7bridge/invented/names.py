"""Invented names, made of syllables, and numbers with a right check digit.

Families and given names are composed, so that there are some ten thousand of each and none is anybody's in particular.
"""

from __future__ import annotations

_FAMILY_BEGINS = (
    "Abel", "Bran", "Cald", "Dorn", "Elver", "Farr", "Gant", "Hest", "Ilm", "Jask", "Keld", "Lund", "Marr", "Nesk", "Orl",
    "Pell", "Quist", "Rend", "Sark", "Tamm", "Ulver", "Varn", "Wend", "Yost", "Zell", "Brisk", "Crail", "Drav", "Fenn",
    "Grell", "Hulm", "Krast", "Mold", "Prand", "Skarn", "Thorv", "Vint", "Wrack", "Zorn", "Aster",
)  # fmt: skip
_FAMILY_MIDDLES = ("a", "e", "i", "o", "u", "an", "el", "ir", "on", "ul", "eth", "ov", "ish", "ar", "em", "yn")
_FAMILY_ENDS = (
    "bek", "dahl", "fex", "gard", "holm", "ic", "kampe", "lov", "mark", "nay", "quay", "rup", "sted", "tov", "vik", "wyn",
)  # fmt: skip
_GIVEN_BEGINS = (
    "Ad", "Bel", "Cor", "Dal", "Ev", "Fi", "Gal", "Hel", "Ir", "Jor", "Kal", "Lor", "Mir", "Nal", "Ot", "Per", "Ro", "Sel",
    "Tal", "Um", "Ves", "Wil", "Yor", "Zen",
)  # fmt: skip
_GIVEN_MIDDLES = ("", "a", "e", "i", "o", "u", "an", "el", "is", "or", "ev", "im")
_GIVEN_ENDS = ("bert", "da", "dwin", "fina", "goth", "ka", "lind", "mar", "nius", "reth", "sia", "tine", "vara", "zo")

FAMILIES = len(_FAMILY_BEGINS) * len(_FAMILY_MIDDLES) * len(_FAMILY_ENDS)
GIVEN_NAMES = len(_GIVEN_BEGINS) * len(_GIVEN_MIDDLES) * len(_GIVEN_ENDS)


def family_name(number: int) -> str:
    """The family name of that number, modulo FAMILIES."""
    number, end = divmod(number % FAMILIES, len(_FAMILY_ENDS))
    begin, middle = divmod(number, len(_FAMILY_MIDDLES))
    return _FAMILY_BEGINS[begin] + _FAMILY_MIDDLES[middle] + _FAMILY_ENDS[end]


def given_name(number: int) -> str:
    """The given name of that number, modulo GIVEN_NAMES."""
    number, end = divmod(number % GIVEN_NAMES, len(_GIVEN_ENDS))
    begin, middle = divmod(number, len(_GIVEN_MIDDLES))
    return _GIVEN_BEGINS[begin] + _GIVEN_MIDDLES[middle] + _GIVEN_ENDS[end]


FIRST_NPI = 199_000_000
"""Where invented NPIs begin, without the check digit: 1990000003 is the first."""


def npi(number: int) -> str:
    """The invented NPI of that number (below one million): ten digits, the last of which checks the others."""
    nine = str(FIRST_NPI + number)
    return nine + npi_check_digit(nine)


def npi_check_digit(nine: str) -> str:
    """Luhn's check digit over `80840` and the nine digits of a US National Provider Identifier."""
    total = 24  # what 80840 adds
    for place, digit in enumerate(nine):
        value = int(digit) * (1 if place % 2 else 2)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def dea_check_digit(six: str) -> str:
    """The check digit over the six digits of a US DEA registration number."""
    digits = [int(digit) for digit in six]
    return str((digits[0] + digits[2] + digits[4] + 2 * (digits[1] + digits[3] + digits[5])) % 10)
