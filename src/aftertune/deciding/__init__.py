"""Deciding: drifts, gate and policies, leaks, and measures beside them."""
