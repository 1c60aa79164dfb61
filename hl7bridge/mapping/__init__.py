"""Message -> staff changes: what one HL7 v2 staff message asks for, record by record. Pure; reads only packaged tables.

Begin with `staff.translate`. The tables are codes.toml, events.toml, fields.toml and languages.toml beside the code; each
field's row names the Python function that reads it.
"""
