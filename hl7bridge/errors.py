"""Every exception of hl7bridge.

    Hl7BridgeError
      ConfigError               a setting is wrong: which file, which key, what to do            (exit code 2)
        NotOffered                this kind of destination does not offer what was asked for
      MessageError              the sender's fault: carries the refusal class and the finding to answer with
        UnreadableMessage         not HL7, undecodable, malformed                                  (content)
        UnsupportedMessage        type, event, version or processing id that we do not take        (unsupported)
      StoreError                the durable store failed: nothing positive may be answered       (unavailable)
        StoreDamaged              its files are damaged, or are none of a store
        StoreBusy                 another process held the store too long
        ClaimLost                 our claim ended before the settlement: another worker has it
        HealthChanged             another worker learned something of the destination: decide again
      TokenError                no access token: the destination pauses, its queue waits
      Unreachable               a peer or server cannot be reached                               (exit code 3)

No text of an exception holds message content, a name, a token or a key.
"""

from __future__ import annotations

from hl7bridge.model import Finding, Location, Refusal


class Hl7BridgeError(Exception):
    """The root. `str()` is one line that a person can act on."""


class ConfigError(Hl7BridgeError):
    """A setting is wrong. `file` and `key` say where (either may be ""), `advice` what to do."""

    def __init__(self, problem: str, *, file: str = "", key: str = "", advice: str = "") -> None:
        where = ": ".join(part for part in (file, key) if part)
        text = f"{where}: {problem}" if where else problem
        super().__init__(f"{text}. {advice}" if advice else text)
        self.problem, self.file, self.key, self.advice = problem, file, key, advice


class NotOffered(ConfigError):
    """A kind of destination does not offer what was asked for. `name`: the destination; `what`: "roster"."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"destination {name} offers no {what}")
        self.what = what


class MessageError(Hl7BridgeError):
    """A message cannot be taken. `finding` becomes the ERR segment, `refusal` chooses the acknowledgment code."""

    refusal = Refusal.CONTENT

    def __init__(self, code: str, local: str, text: str, location: Location | None = None) -> None:
        super().__init__(text)
        self.finding = Finding(code, local, text, location=location)


class UnreadableMessage(MessageError):
    """Not HL7, undecodable, or malformed beyond reading."""


class UnsupportedMessage(MessageError):
    """A message type, trigger event, version or processing id that this feed does not take (table 0357, 200 to 203)."""

    refusal = Refusal.UNSUPPORTED


class StoreError(Hl7BridgeError):
    """The durable store could not do what was asked; the transaction left nothing behind."""


class StoreDamaged(StoreError):
    """The files of the store are damaged, or are none of a store."""


class StoreBusy(StoreError):
    """Another process held the store's write lock longer than we wait."""


class ClaimLost(StoreError):
    """The claim had ended, or belongs to another worker by now: the settlement was not recorded."""


class HealthChanged(StoreError):
    """The health of the destination was changed by another worker since it was read: nothing was recorded."""


class TokenError(Hl7BridgeError):
    """The token endpoint gave no token. `permanent`: it refused (4xx), so that waiting alone will not help.

    code  the error code of RFC 6749, 5.2, "" when it gave none
    hint  what its own words are about: "audience", "clock", "key", "client", "scope", "" when it does not explain itself
    explanation  its own words, made safe for a terminal, and for nothing but a terminal: they are in no text of ours
    """

    def __init__(
        self, text: str, *, permanent: bool, status: int = 0, code: str = "", hint: str = "", explanation: str = ""
    ) -> None:
        super().__init__(text)
        self.permanent, self.status, self.code, self.hint = permanent, status, code, hint
        self.explanation = explanation


class Unreachable(Hl7BridgeError):
    """A peer or server does not answer at the address that is configured."""
