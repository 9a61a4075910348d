"""Asking: benchmarks, backends, and the jobs that put prompts to models."""
