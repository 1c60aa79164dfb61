"""Commands about maps: explain, lint, preview, test, what is unmapped."""
