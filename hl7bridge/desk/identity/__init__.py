"""Whom records are about: what is not clear, who may be meant, and what people say of it."""
