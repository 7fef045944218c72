"""Text formats of other tools: text in, a description out, errors naming the line; none opens a file."""
