"""What tells one person from another: names, sex and birth date, and how much a difference of each counts.

Evidence vetoes, it never matches. Not every difference is a contradiction: people marry, shorten their names, change the
sex marker, and sources correct a birth date. So sex counts only male against female, and a given name only if neither is
a prefix, an initial or a listed short form of the other's. Pure.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from hl7bridge.model import ElementValue, JsonObject, StaffChange
from hl7bridge.model.remembering import remembered

ELEMENTS = frozenset({"name", "gender", "birthDate"})
"""The elements of a Practitioner that tell people apart."""


class Likeness(StrEnum):
    """How two sides stand to each other in one respect."""

    SAME = "same"
    ALIKE = "alike"  # may be the same, and does not show it: an initial, a part of a double name
    DIFFERENT = "different"
    UNKNOWN = "unknown"  # one side says nothing


SAME, ALIKE, DIFFERENT, UNKNOWN = Likeness


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one side says of a person; each of several names counts, for a maiden name goes on being the person's.

    families  family names as written
    givens    given names as written, all those of one name together
    births    FHIR dates
    sexes     codes of FHIR's administrative gender
    """

    families: frozenset[str] = frozenset()
    givens: frozenset[tuple[str, ...]] = frozenset()
    births: frozenset[str] = frozenset()
    sexes: frozenset[str] = frozenset()

    def __or__(self, other: Evidence) -> Evidence:
        """Where this side says nothing, what the other does: an old word must not speak for what has changed since."""
        return Evidence(
            self.families or other.families,
            self.givens or other.givens,
            self.births or other.births,
            self.sexes or other.sexes,
        )


def of_values(values: Iterable[ElementValue]) -> Evidence:
    """What values for a Practitioner say."""
    resource: JsonObject = {"name": []}
    for value in values:
        if value.element == "name":
            resource["name"].append(value.value)
        elif value.element in ELEMENTS:
            resource[value.element] = value.value
    return of_resource(resource)


def words_about(change: StaffChange) -> tuple[ElementValue, ...]:
    """What a record says of its person, also where the event merges no content, or a destination gets none of it."""
    return tuple(value for value in (*change.practitioner, *change.evidence) if value.element in ELEMENTS)


def of_resource(resource: JsonObject) -> Evidence:
    """What a Practitioner says, whatever shape its elements have."""
    names = resource.get("name")
    names = [name for name in names if isinstance(name, dict)] if isinstance(names, list) else []
    givens = (name.get("given") for name in names)
    return Evidence(
        frozenset(filter(None, (_text(name.get("family")) for name in names))),
        frozenset(tuple(filter(None, map(_text, given))) for given in givens if isinstance(given, list)) - {()},
        frozenset({_text(resource.get("birthDate"))}) - _NO_BIRTHS,
        frozenset({_text(resource.get("gender"))}) & {"male", "female"},
    )


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


_NO_BIRTHS = frozenset({"", "0001-01-01", "1753-01-01", "1800-01-01", "1900-01-01", "1901-01-01", "1970-01-01"})
"""Birth dates that programs write where none is known."""


# --- comparing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two sides, respect by respect."""

    family: Likeness
    given: Likeness
    sex: Likeness
    birth: Likeness

    @property
    def names_agree(self) -> bool:
        """Whether family and given names are equal; a double name agrees with each of its parts."""
        return self.family in (SAME, ALIKE) and self.given is SAME

    @property
    def names_differ(self) -> bool:
        """Whether a name differs."""
        return DIFFERENT in (self.family, self.given)

    @property
    def differing(self) -> tuple[str, ...]:
        """What differs, in words."""
        sides = {"family name": self.family, "given name": self.given, "sex": self.sex, "birth date": self.birth}
        return tuple(name for name, likeness in sides.items() if likeness is DIFFERENT)

    @property
    def is_settled(self) -> bool:
        """Whether it shows one person, whatever else may become known."""
        return self.birth is SAME or self.names_agree


def compare(ours: Evidence, theirs: Evidence) -> Agreement:
    """How a record's person stands to another side's: the best that any of their values shows."""
    family = _best(_families, ours.families, theirs.families)
    given = _best(_givens, ours.givens, theirs.givens)
    if family is DIFFERENT is given and _swapped(ours, theirs) and _swapped(theirs, ours):
        family = given = ALIKE
    sex = _either(ours.sexes, theirs.sexes)
    return Agreement(family, given, sex, _best(_births, ours.births, theirs.births))


def key_recycled(found: Agreement) -> str:
    """Why the bearer of one staff key is not who bore it before: "recycled-key", "birth-date-differs" where nothing else
    says which is right, or "".

    An equal birth date passes, and so do equal family and given names: marriage, a sex marker, a corrected birth date.
    """
    if found.is_settled:
        return ""
    if found.birth is DIFFERENT:
        return "recycled-key" if found.names_differ else "birth-date-differs"
    # Where a given name does not tell, sex may stand for it; beside an equal one it is a marker that was changed.
    others = found.given is DIFFERENT or (found.given is not SAME and found.sex is DIFFERENT)
    return "recycled-key" if found.family is DIFFERENT and others else ""


def contradiction(found: Agreement, *, agreeing: int, types_differ: bool) -> str:
    """Why somebody who shares identifiers with a record, and not its staff key, is somebody else; "" = nothing says so.

    agreeing      how many identifiers are shared; a single one needs the family name to confirm it
    types_differ  whether both sides state another type for a shared one
    """
    if found.birth is DIFFERENT:
        return "birth-date-differs"
    if types_differ and found.names_differ:
        return "identifier-type-differs"
    confirmed = found.given is SAME or found.birth is SAME
    if agreeing < 2 and not (found.family is SAME or (found.family is ALIKE and confirmed)):
        return "name-not-confirmed"
    if found.given is DIFFERENT or (found.family is DIFFERENT and not confirmed):
        return "name-differs"
    return "sex-differs" if found.sex is DIFFERENT and not (found.birth is SAME and found.names_agree) else ""


def _best(likeness: Any, ours: Collection[Any], theirs: Collection[Any]) -> Likeness:
    found = {likeness(one, other) for one in ours for other in theirs}
    return next((kind for kind in (SAME, ALIKE, UNKNOWN, DIFFERENT) if kind in found), UNKNOWN)


def _either(ours: frozenset[str], theirs: frozenset[str]) -> Likeness:
    if not ours or not theirs:
        return UNKNOWN
    return SAME if ours & theirs else DIFFERENT


def _births(ours: str, theirs: str) -> Likeness:
    """FHIR dates may be partial (1970, 1970-05): only what both say can differ, and only a day is a day."""
    length = min(len(ours), len(theirs))
    if ours[:length] != theirs[:length]:
        return DIFFERENT
    return SAME if length >= len("1970-05-01") else UNKNOWN


def _swapped(ours: Evidence, theirs: Evidence) -> bool:
    """Whether one side's family name stands among the other's given names: somebody put them into each other's place."""
    given = {form for names in theirs.givens for name in names for form in folded(name)}
    return any(folded(family) & given for family in ours.families)


# --- names -----------------------------------------------------------------------------------------------------------

_BETWEEN = re.compile(r"[\s\-\u2010-\u2015.,/]+")
_BESIDE = "al bin da de del della den der di do dos du e el ibn jr la le of san sr st ten ter van von y zu ii iii"
_PARTICLES = frozenset(_BESIDE.split())
_TITLES = frozenset({"dr", "mr", "mrs", "ms", "miss", "prof"})
_INITIALS = 2  # letters that begin many a name
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i"}  # a dotless i
)
_TRANSCRIBED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})


@remembered(16384)
def folded(text: str) -> frozenset[str]:
    """A name without case, accents, hyphens and spaces: as it is written without them, and as it is transcribed
    (Müller: muller, mueller). Empty for one without a letter."""
    composed = unicodedata.normalize("NFC", text.casefold())
    forms = (composed, composed.translate(_TRANSCRIBED))
    return frozenset(filter(None, map(_plain, forms)))


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(character for character in decomposed if character.isalnum())


def _words(text: str, without: frozenset[str]) -> list[frozenset[str]]:
    words = [forms for word in _BETWEEN.split(text) if (forms := folded(word))]
    return [forms for forms in words if not forms & without] or words


def _families(ours: str, theirs: str) -> Likeness:
    """Equal, or one a part of the other: a double name is often cut, or came with a marriage."""
    one, other = folded(ours), folded(theirs)
    if not one or not other or _is_latin(one) is not _is_latin(other):
        return UNKNOWN
    if one & other:
        return SAME
    short, long = sorted((_words(ours, _PARTICLES), _words(theirs, _PARTICLES)), key=len)
    return ALIKE if all(any(part & whole for whole in long) for part in short) else DIFFERENT


def _givens(ours: tuple[str, ...], theirs: tuple[str, ...]) -> Likeness:
    """The first names of both; a middle name of one may be what the other goes by, but an initial of it shows nothing."""
    one = [word for text in ours for word in _words(text, _TITLES)]
    other = [word for text in theirs for word in _words(text, _TITLES)]
    if not one or not other:
        return UNKNOWN
    first = _given(one[0], other[0])
    if first is DIFFERENT:
        crossed = [(one[0], word) for word in other[1:]] + [(word, other[0]) for word in one[1:]]
        return SAME if any(_given(*pair) is SAME for pair in crossed) else DIFFERENT
    return first


def _is_latin(name: frozenset[str]) -> bool:
    """Whether a folded name is of Latin letters: a transcription from another script is not compared with it."""
    return any(character.isascii() for form in name for character in form)


def _given(ours: frozenset[str], theirs: frozenset[str]) -> Likeness:
    if _is_latin(ours) is not _is_latin(theirs):
        return UNKNOWN
    if ours & theirs or ours & _full_names(theirs) or theirs & _full_names(ours):
        return SAME
    common = [min(len(one), len(other)) for one in ours for other in theirs
              if one.startswith(other) or other.startswith(one)]  # fmt: skip
    if common:
        return SAME if max(common) > _INITIALS else ALIKE
    return ALIKE if _full_names(ours) & _full_names(theirs) else DIFFERENT


def _full_names(name: frozenset[str]) -> frozenset[str]:
    """Those that a given name is a short form of."""
    return frozenset().union(*(_short_forms().get(form, frozenset()) for form in name))


@cache
def _short_forms() -> dict[str, frozenset[str]]:
    """Short form -> the full names that it may stand for (given_names.toml), all folded."""
    table = tomllib.loads(files(__package__).joinpath("given_names.toml").read_text("utf-8"))
    found: dict[str, frozenset[str]] = {}
    for full, short in table["short_forms"].items():
        for form in frozenset().union(*map(folded, short.split())):
            found[form] = found.get(form, frozenset()) | folded(full)
    return found
