"""People who do not exist: synthetic feeds (`feed.py`) and stable pseudonyms for real messages (`redaction.py`).

Pure: bytes in, bytes out; the same seed or key gives the same bytes.
"""
