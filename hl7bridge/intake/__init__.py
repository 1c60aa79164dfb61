"""One message on its way in: what to store of it and what to answer, before anything is written. No I/O."""
