"""What goes over the wire to a FHIR server: client, gate, replies, authorization, keys, what it offers."""
