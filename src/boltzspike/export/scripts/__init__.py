"""Scripts that are written beside exported data and run on their own: they import nothing of boltzspike."""
