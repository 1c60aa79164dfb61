"""Commands that look at messages or send them, without a configuration."""
