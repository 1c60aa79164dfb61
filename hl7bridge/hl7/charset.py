"""MSH-18 character sets: which Python codec reads a message.

HL7 v2.5.1 chapter 2: 2.15.9.18 (MSH-18) and table 0211; 2.7.2 and 2.15.9.20 (MSH-20) for messages that switch sets by
ISO 2022 escapes. MLLP Release 1 frames end at the byte 0x1C, so that no set whose characters hold such bytes (UTF-16,
UTF-32) can travel.
"""

from __future__ import annotations

from collections.abc import Sequence

from hl7bridge.errors import UnsupportedMessage
from hl7bridge.model import Location
from hl7bridge.model.remembering import remembered

_CHARSET_FIELD = Location("MSH", 1, 18)

# Table 0211 first, then what senders write instead. Keys are folded: upper case, letters and digits alone.
_CODECS = {
    "ASCII": "ascii",
    "ISOIR6": "ascii",
    "USASCII": "ascii",
    **{f"8859{part}": f"iso8859-{part}" for part in (*range(1, 12), 13, 14, 15, 16)},
    **{f"ISO8859{part}": f"iso8859-{part}" for part in (*range(1, 12), 13, 14, 15, 16)},
    "LATIN1": "iso8859-1",
    "ISOIR100": "iso8859-1",
    "ISOIR101": "iso8859-2",
    "ISOIR144": "iso8859-5",
    "UNICODE": "utf-8",
    "UNICODEUTF8": "utf-8",
    "UTF8": "utf-8",
    "ISOIR192": "utf-8",
    # JIS X 0201: shift_jis has its half-width kana at the same bytes, and leaves 0x5C the escape character.
    "ISOIR14": "shift_jis",
    "ISOIR13": "shift_jis",
    "SHIFTJIS": "shift_jis",
    "SJIS": "shift_jis",
    "WINDOWS31J": "cp932",
    "CP932": "cp932",
    "ISOIR87": "iso2022_jp",
    # JIS X 0212, which plain iso2022_jp has not
    "ISOIR159": "iso2022_jp_1",
    "JISX0202": "iso2022_jp_ext",
    "JAS2020": "iso2022_jp_ext",
    "ISO2022JP": "iso2022_jp_ext",
    "EUCJP": "euc_jp",
    "GB180302000": "gb18030",
    "GB18030": "gb18030",
    "GB2312": "gb18030",
    "GBK": "gb18030",
    "KSX1001": "euc_kr",
    "EUCKR": "euc_kr",
    "CP949": "cp949",
    "BIG5": "big5",
    "CP950": "cp950",
    **{f"{prefix}{page}": f"cp{page}" for prefix in ("WINDOWS", "CP") for page in range(1250, 1259)},
    **{f"CP{page}": f"cp{page}" for page in (437, 850, 852, 858, 866, 874)},
}

# Of the codecs above, those for which senders have other names than table 0211.
_NAMES = {
    "ascii": "ASCII",
    **{f"iso8859-{part}": f"8859/{part}" for part in (*range(1, 10), 15)},
    "utf-8": "UNICODE UTF-8",
    "gb18030": "GB 18030-2000",
    "euc_kr": "KS X 1001",
    "big5": "BIG-5",
}
_TABLE_0211 = frozenset(_NAMES.values()) | frozenset(
    {"JAS2020", "JIS X 0202", "ISO IR6", "ISO IR14", "ISO IR87", "ISO IR159", "UNICODE"}
)

# Known to table 0211, and impossible here: no codec in Python, or bytes that MLLP cannot carry.
_REFUSED = {
    "CNS116431992": "CNS 11643 has no codec here",
    "CNS11643": "CNS 11643 has no codec here",
    **{
        f"{prefix}{form}{order}": "UTF-16 and UTF-32 cannot travel over MLLP"
        for prefix in ("", "UNICODE")
        for form in ("UTF16", "UTF32")
        for order in ("", "LE", "BE")
    },
}

# A character of these sets may hold the bytes of a separator: field boundaries are known only after decoding.
AMBIGUOUS = frozenset(
    {"big5", "cp950", "shift_jis", "cp932", "gb18030", "iso2022_jp", "iso2022_jp_1", "iso2022_jp_ext"}
)

_LONGEST_NAME = 64  # characters: what is longer names no set, however many dots and blanks stand in it

_JAPANESE = frozenset({"ascii", "shift_jis", "iso2022_jp", "iso2022_jp_1", "iso2022_jp_ext"})


@remembered(256)
def _fold(name: str) -> str:
    return "".join(letter for letter in name.upper() if letter.isascii() and letter.isalnum())


def codec_of(msh18: str) -> str:
    """The Python codec for one name of table 0211, or for a name that senders and settings use instead ("windows-1252").

    Raises UnsupportedMessage for a set that MLLP cannot carry or Python cannot read, and for an unknown name. The name
    itself is not repeated in the text, as it comes from the message.
    """
    folded = _fold(msh18) if len(msh18) <= _LONGEST_NAME else ""
    codec = _CODECS.get(folded)
    if codec is not None:
        return codec
    if folded in _REFUSED:
        raise UnsupportedMessage(
            "207",
            "charset-unsupported",
            f"MSH-18 names a character set that cannot be read: {_REFUSED[folded]}. Send UNICODE UTF-8",
            _CHARSET_FIELD,
        )
    raise UnsupportedMessage(
        "103", "charset-unknown", "MSH-18 names a character set that table 0211 does not hold", _CHARSET_FIELD
    )


def name_in_table(name: str) -> str:
    """A name that `codec_of` knows as table 0211 has it (UTF-8: "UNICODE UTF-8"); as it is where the table has none.

    "" for a blank or unknown one.
    """
    name = name.strip()
    codec = _CODECS.get(_fold(name), "")
    if name in _TABLE_0211 or not codec:
        return name if codec else ""
    return _NAMES.get(codec, name)


def codec_of_field(names: Sequence[str]) -> str:
    """The codec for all repetitions of MSH-18, "" when every one is blank. Raises UnsupportedMessage like `codec_of`.

    The first repetition is the default set; further ones are reached by escapes (MSH-20). Japanese sets switch by
    ISO 2022 escape sequences that a codec follows by itself: a blank or 7-bit default with a JIS set among the others
    is read by the codec that holds all of them. `\\C..\\` and `\\M..\\` sequences are left to `unescape`.
    """
    first = names[0].strip() if names else ""
    default = codec_of(first) if first else ""
    if len(names) < 2:
        return default
    others = {_CODECS.get(_fold(name), "") for name in names[1:]}
    if default in _JAPANESE | {""} and others & _JAPANESE - {"ascii"}:
        return "iso2022_jp_ext"
    return default
