"""FHIR R4 servers: a staff change becomes reads and writes of Practitioner and PractitionerRole."""
