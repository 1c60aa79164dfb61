"""Where staff changes go: one seam, several kinds of destination. Blocking; knows neither HL7 nor Twisted."""
