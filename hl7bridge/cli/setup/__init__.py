"""Commands for setting the bridge up: configuration, keys, tokens, what is wrong with a server."""
