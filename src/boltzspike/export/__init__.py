"""Results and networks in the formats of other tools: one target a file."""
