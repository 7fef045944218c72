"""Out into the field's tools: one target a file."""
