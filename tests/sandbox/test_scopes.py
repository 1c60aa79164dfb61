import pytest

from hl7bridge.sandbox.scopes import grant, permits

BOTH = "system/Practitioner.cruds system/PractitionerRole.rs"


@pytest.mark.parametrize(
    ("requested", "allowed", "granted"),
    [
        ("", BOTH, BOTH),
        ("system/Practitioner.rs", BOTH, "system/Practitioner.rs"),
        ("system/Practitioner.read", BOTH, "system/Practitioner.read"),
        ("system/Practitioner.*", BOTH, "system/Practitioner.*"),
        ("system/PractitionerRole.*", BOTH, "system/PractitionerRole.read"),
        ("system/PractitionerRole.cruds", BOTH, "system/PractitionerRole.rs"),
        ("system/PractitionerRole.write", BOTH, ""),
        ("system/*.rs", BOTH, "system/Practitioner.rs system/PractitionerRole.rs"),
        ("system/*.*", "system/*.read", "system/*.read"),
        ("system/Practitioner.cu", "system/*.write", "system/Practitioner.cu"),
        ("system/Practitioner.write", "system/Practitioner.cu", "system/Practitioner.cu"),
        ("system/Patient.rs", BOTH, ""),
        ("system/Patient.rs system/Practitioner.r", BOTH, "system/Practitioner.r"),
        ("user/Practitioner.rs openid", BOTH, ""),
        ("system/Practitioner.sr", BOTH, ""),
        ("system/Practitioner.", BOTH, ""),
        ("system/Practitioner.rs?identifier=x", BOTH, ""),
    ],
)
def test_granted_is_what_is_requested_and_allowed(requested: str, allowed: str, granted: str) -> None:
    assert grant(requested, allowed) == granted


@pytest.mark.parametrize(
    ("scopes", "resource_type", "letters"),
    [
        ("system/Practitioner.read", "Practitioner", "rs"),
        ("system/Practitioner.write", "Practitioner", "cud"),
        ("system/Practitioner.read", "PractitionerRole", ""),
        ("system/*.*", "PractitionerRole", "cruds"),
        ("system/Practitioner.c system/Practitioner.s", "Practitioner", "cs"),
    ],
)
def test_scopes_permit(scopes: str, resource_type: str, letters: str) -> None:
    assert "".join(letter for letter in "cruds" if permits(scopes, resource_type, letter)) == letters
