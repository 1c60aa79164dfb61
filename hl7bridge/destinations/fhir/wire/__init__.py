"""What goes over the wire to a FHIR server: client, last wall, replies, authorization, keys, what it offers."""
