"""Tuning: a base and conversations in, checkpoints out; mitigations are part of it."""
