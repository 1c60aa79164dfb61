"""hl7bridge keeps FHIR R4 Practitioner and PractitionerRole resources in step with HL7 v2 staff feeds."""

__all__ = ["__version__"]

__version__ = "0.1.0"
