"""What people decide, one function a decision. The command line, a console and an HTTP API call it, and nothing else.

Every decision takes the actor (`deciding.Actor`: account, way, role), why, and a clock; it is in the history; it returns a
frozen value that says what happened, which a terminal, a page and a JSON answer can all show. What can't be is a
ConfigError in plain words.
"""
