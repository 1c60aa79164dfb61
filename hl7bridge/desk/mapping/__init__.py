"""How messages are mapped, as people ask about it: what the tables on disk change, and what they do not know."""
