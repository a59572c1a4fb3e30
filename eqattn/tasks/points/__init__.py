"""The task "points": point sets of one's own, in any space of the library."""
