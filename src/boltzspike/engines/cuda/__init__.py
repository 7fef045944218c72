"""The GPU engine: one persistent kernel, a chain a row of threads (numba-cuda)."""
