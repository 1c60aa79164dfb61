"""What a message says: MFN^M02, PMU and the practitioners of ADT, record by record."""
