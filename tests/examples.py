"""How many examples the properties try, and from which seed: few and always the same with every run of the tests, so that a
failure is that of the change at hand; more, and others each time, where somebody asks for them.

`HL7BRIDGE_TEST_EXAMPLES` multiplies the numbers. `HL7BRIDGE_TEST_SEED` is the seed: a number, or "random" for another with
each run, which is printed. `python -m tests.acceptance properties` sets both.
"""

from __future__ import annotations

import os
import random

VARIABLE, SEED_VARIABLE = "HL7BRIDGE_TEST_EXAMPLES", "HL7BRIDGE_TEST_SEED"
FIXED = 20260302


def examples(number: int) -> int:
    """`number`, times what the environment asks for."""
    return number * max(1, int(os.environ.get(VARIABLE) or 1))


def is_fixed() -> bool:
    """Whether each run is to try the same."""
    return not os.environ.get(SEED_VARIABLE)


def seed() -> int:
    """The seed for what draws by itself. Print it with what it led to."""
    asked = os.environ.get(SEED_VARIABLE) or FIXED
    return fresh_seed() if asked == "random" else int(asked)


def fresh_seed() -> int:
    """A seed that nobody tried before."""
    return random.SystemRandom().randrange(2**32)
