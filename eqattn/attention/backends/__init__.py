"""Back ends: ways to compute attention, all of which compute the same."""
