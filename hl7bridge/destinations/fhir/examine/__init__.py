"""Looking at a FHIR server as deliveries would use it, for the doctor and other commands that only read."""
