"""Who at the server a staff change is about, and what tells one person from another."""
