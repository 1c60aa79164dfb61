"""Message -> staff changes: what one HL7 v2 staff message asks for, record by record. Pure; reads only packaged tables.

Begin with `messages.staff.translate`. The tables are *.toml files beside the rules; each
field's row names the Python function that reads it.
"""
