"""The CPU engine: compiled with Numba, chains over threads."""
