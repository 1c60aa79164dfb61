"""The quick way through the rules: fields that look as most senders write them, and codes that were read before."""
