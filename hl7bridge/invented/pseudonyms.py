"""Stable pseudonyms: the same key and value give the same pseudonym, in every field, message and file.

Text keeps its shape: a digit stays a digit, a letter a letter of its case, all else as it is. Below a shape, different
texts have different pseudonyms: what is compared (staff keys, identifiers) stays comparable. Whoever has the key can
guess values and compare; without it the pseudonyms of long values say nothing of them. Of short ones (two digits) there
are few.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date, time, timedelta
from functools import lru_cache

from hl7bridge.invented.names import (
    dea_check_digit,
    family_name,
    given_name,
    npi_check_digit,
)

_ROUNDS = 8
_NPI = re.compile("[12][0-9]{9}")
_DEA = re.compile("[A-Za-z][A-Za-z9][0-9]{7}")
_DATE = re.compile("([0-9]{4})([0-9]{2})?([0-9]{2})?")
_TIME = re.compile(r"([0-9]{4}(?:[0-9]{2}){0,5})((?:\.[0-9]{1,6})?(?:[+-][0-9]{4})?)")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_DIGIT = re.compile("[0-9]")
_WORD = re.compile(r"[^\W\d_]+")
_PHONE_WORDS = (
    " ext extn extension tel phone telephone fon fax mob mobile cell pager bleep int intern poste toestel nst durchwahl home"
    " private privat privé privée domicile thuis work office off direct switchboard ask for "
)
"""What people write beside a number to say what it is, not whose."""

_NUMBER_TYPES = (
    " ACSN AM AMA AN ANC AND ANON ANT APRN ASID BA BC BCT BR BRN BSNR CC CONM CY CZ DDS DEA DFN DI DL DN DO DP DPM DR DS EI"
    " EIN EN ESN FI GI GL GN HC IND ITIN JHN LACSN LANR LI LN LR MA MB MC MCD MCN MCR MCT MD MI MR MRT MS NBSNR NCT NE NH NI"
    " NII NIIP NNUSA NP NPI OD PA PC PCN PE PEN PI PN PNT PPIN PPN PRC PRN PT QA RI RN RPH RR RRI RRP SID SL SN SP SR SS SSN"
    " TAX TIN TN TPR TRL U UPIN USID VN VP VS WC WCN WP XX "
)
"""Types of identifiers, table 0203: in the place of a title (XPN.5) they show that a number was shifted there."""

_MAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@.]{2,}")
_PHONE_LETTERS = re.compile("[A-Z]|C[BCFHO]", re.IGNORECASE)  # X of an extension, H of home; TN: 999-9999X99999CH
_DIGITS_OF_NO_NAME = 5
_UNISSUED_NPI = "2"  # all that were issued begin with 1
_AREA = "5"  # area codes of fives belong to nobody
_AFFIXES = (
    " DR DR. PROF PROF. MR MR. MRS MRS. MS MS. MISS SR JR I II III IV MD M.D. DO PHD PH.D. RN NP PA PHARMD DDS DPM BSN MSN"
    " MBBS FACP FACS FACC BA BS MA MPH CRNA LPN ESQ "
)


class Pseudonyms:
    """Pseudonyms by one key (any bytes, 16 or more)."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.sha256(key).digest()
        self.text = lru_cache(maxsize=8192)(self._text)
        self.family = lru_cache(maxsize=8192)(self._family)
        self.given = lru_cache(maxsize=8192)(self._given)

    def _bytes(self, purpose: str, text: str, length: int) -> bytes:
        return hashlib.shake_256(self._key + f"{purpose}\0{text}".encode("utf-8", "surrogatepass")).digest(length)

    def _number(self, purpose: str, text: str) -> int:
        return int.from_bytes(self._bytes(purpose, text, 8))

    # -- text that keeps its shape --

    def _text(self, text: str) -> str:
        """Any text. A valid check digit (NPI, DEA) stays valid, a wrong one stays wrong; control characters, which readers
        leave out, stay where they are and count for nothing."""
        if _CONTROL.search(text):
            replaced = iter(self.text(_CONTROL.sub("", text)))
            return "".join(c if _CONTROL.match(c) else next(replaced) for c in text)
        if _NPI.fullmatch(text):
            body = _UNISSUED_NPI + self._permuted(text[1:9])
            return body + _same_fault(text, npi_check_digit(text[:9]), npi_check_digit(body))
        if _DEA.fullmatch(text):
            second = text[1] if text[1] == "9" else self._permuted(text[1])
            body, digits = self._permuted(text[0]) + second, self._permuted(text[2:8])
            return body + digits + _same_fault(text, dea_check_digit(text[2:8]), dea_check_digit(digits))
        return self._permuted(text)

    def _permuted(self, text: str) -> str:
        """A permutation of the texts of one shape, by a Feistel network over the halves of what can change."""
        places = [place for place, character in enumerate(text) if _radix(character)]
        letters = list(text)
        shape = "".join(str(_radix(character)) if _radix(character) else character for character in text)
        for attempt in range(3):
            middle = (len(places) + 1) // 2
            halves = places[:middle], places[middle:]
            for number in range(_ROUNDS):
                changed, other = halves[number % 2], halves[1 - number % 2]
                told = f"{attempt}{number}\0{shape}\0" + "".join(letters[place] for place in other)
                noise = self._bytes("text", told, 2 * len(changed))
                for index, place in enumerate(changed):
                    step = int.from_bytes(noise[2 * index : 2 * index + 2])
                    letters[place] = _moved(letters[place], step)
            if not places or any(letters[place] != text[place] for place in places):
                break
        return "".join(letters)

    # -- what has a form of its own --

    def _family(self, text: str) -> str:
        """A family name; what is none (a number that was shifted there) in its shape."""
        if not _is_name(text):
            return self.mail(text)
        return _in_case_of(text, family_name(self._number("family", text.casefold())))

    def _given(self, text: str) -> str:
        """A given name, for an initial another initial."""
        if not _is_name(text):
            return self.mail(text)
        if len(text.rstrip(".")) == 1:
            return self.text(text)
        return _in_case_of(text, given_name(self._number("given", text.casefold())))

    def affix(self, text: str) -> str:
        """A title or degree stays, if it is a common one."""
        return text if f" {text.upper()} " in _AFFIXES else self.text(text)

    def prefix(self, text: str) -> str:
        """A title; the type of a number that was shifted to the place of a name stays."""
        return text if f" {text} " in _NUMBER_TYPES else self.affix(text)

    def postal(self, text: str) -> str:
        """A postal code; one or two characters are none, but a code that belongs elsewhere."""
        return text if len(text) <= 2 else self.text(text)

    def mail(self, text: str) -> str:
        """An e-mail address at example.org, or a web address there; other text, half an address too, in its shape."""
        if _MAIL.fullmatch(text):
            return f"{self._bytes('mail', text.casefold(), 5).hex()}@example.org"
        if "://" in text:
            return f"https://example.org/{self._bytes('mail', text, 5).hex()}"
        return self.text(text)

    def phone(self, text: str) -> str:
        """A telephone number in the shape of this one: of its digits, all before the last seven are fives."""
        if "@" in text or "://" in text:
            return self.mail(text)
        digits = "".join(_DIGIT.findall(text))
        if not digits:
            return self.text(text)
        leading = len(digits) - 7 if len(digits) >= 7 else len(digits) if len(digits) == 3 else 0
        replaced = iter(_AREA * leading + self._permuted(digits[leading:]))
        return _WORD.sub(lambda word: self._beside_number(word[0]), _DIGIT.sub(lambda _: next(replaced), text))

    def _beside_number(self, word: str) -> str:
        """A word in a telephone number: itself where it says what the number is. Else an x stays in its place and none is
        added, for it divides a number from its extension."""
        if f" {word.lower()} " in _PHONE_WORDS or _PHONE_LETTERS.fullmatch(word):
            return word
        replaced = self.text(word).replace("x", "y").replace("X", "Y")
        return "".join(old if old in "xX" else new for old, new in zip(word, replaced, strict=True))

    def shifted(self, text: str, person: str) -> str:
        """A date one to three years earlier, by the same number of days for all dates of one person; no valid date stays
        none."""
        match = _DATE.match(text)
        if match is None:
            return self.text(text)
        year, month, day = match.groups()
        days = 366 + self._number("days", person) % 730
        try:
            moved = date(int(year), int(month or 1), int(day or 1)) - timedelta(days=days)
        except (ValueError, OverflowError):
            return _DIGIT.sub("9", text)
        written = f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"
        return written[: match.end()] + text[match.end() :]


def when(text: str) -> str:
    """A time that may stay: itself where it is valid and of the years 1850 to 2199; one of the year 9999 and as precise
    where it is of another year (a number in the place of a time may look like one); "" where it is not valid.

    (HL7 v2.9 chapter 2A, DTM: `YYYY[MM[DD[HH[MM[SS[.S..]]]]]][+/-ZZZZ]`)
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return ""
    digits, rest = match.groups()
    year, month, day, clock = digits[:4], digits[4:6] or "01", digits[6:8] or "01", digits[8:]
    try:
        date(int(year), int(month), int(day))
        time.fromisoformat(clock or "00")
    except ValueError:
        return ""
    if "1850" <= year <= "2199":
        return text
    return "99990101000000"[: len(digits)] + _DIGIT.sub("0", rest)


def _is_name(text: str) -> bool:
    """Whether the mapping takes a text for a part of a name: letters, no `@`, and fewer than five digits."""
    return "@" not in text and any(map(str.isalpha, text)) and sum(map(str.isdigit, text)) < _DIGITS_OF_NO_NAME


def _radix(character: str) -> int:
    """How many characters this one may turn into; 0 for one that stays."""
    if "0" <= character <= "9":
        return 10
    if "A" <= character <= "Z" or "a" <= character <= "z" or not character.isascii():
        return 26
    return 0


def _moved(character: str, step: int) -> str:
    if "0" <= character <= "9":
        return chr(48 + (ord(character) - 48 + step) % 10)
    if "A" <= character <= "Z":
        return chr(65 + (ord(character) - 65 + step) % 26)
    if "a" <= character <= "z":
        return chr(97 + (ord(character) - 97 + step) % 26)
    return chr(97 + (ord(character) + step) % 26)


def _same_fault(text: str, right: str, now_right: str) -> str:
    """The check digit that is as wrong as the one of `text`."""
    return str((int(text[-1]) - int(right) + int(now_right)) % 10)


def _in_case_of(text: str, name: str) -> str:
    if text.isupper():
        return name.upper()
    return name.lower() if text.islower() else name
