"""Predictions: pure functions on arrays, each with its equation and source; no simulation."""
