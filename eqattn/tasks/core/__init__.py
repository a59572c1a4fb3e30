"""What tasks share: the protocol, the registry, checks, scores."""
