"""Two sides of one resource: what stands for the same, what a merge leaves, what only a changed mapping stopped giving."""
