"""WHAT: frozen, validated descriptions of neurons, backgrounds, targets and networks."""
