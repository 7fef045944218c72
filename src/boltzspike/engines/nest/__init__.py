"""NEST as an engine: ``engine`` speaks to ``worker``, a process of its own that builds the network by ``run``."""
