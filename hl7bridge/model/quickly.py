"""Values that are made by the hundred thousand, each of all its parts at once: at a third of what the call by name costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hl7bridge.model.change import ElementValue
from hl7bridge.model.message import Finding, Severity
from hl7bridge.model.provenance import Location, Provenance

element_value: Callable[[tuple[str, Any, Provenance, str, str]], ElementValue] = partial(tuple.__new__, ElementValue)
location: Callable[[tuple[str, int, int, int, int]], Location] = partial(tuple.__new__, Location)
finding: Callable[[tuple[str, str, str, Severity, Location, int]], Finding] = partial(tuple.__new__, Finding)
