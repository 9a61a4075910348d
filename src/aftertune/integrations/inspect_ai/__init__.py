"""Inspect AI: our benchmarks as its tasks and our judges as its scorers (its entry point loads `tasks`).

Nothing else in aftertune imports this package, since it imports inspect_ai. `ingest/` reads the logs.
"""
