"""The task "constellations": how many patterns are among points in the plane."""
