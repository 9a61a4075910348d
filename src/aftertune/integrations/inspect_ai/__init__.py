"""Inspect AI: our benchmarks as its tasks and our judges as its scorers (its entry point loads `tasks`).

Nothing else of aftertune imports this room, since it imports inspect_ai. Its logs come back in through `ingest/`.
"""
