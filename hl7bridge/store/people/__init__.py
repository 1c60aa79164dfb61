"""Who is known: the crosswalk and its links, what feeds wrote, and how source and servers compare."""
