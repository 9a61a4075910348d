"""The report: a run's tables as one view, then page, Markdown, JSON and terminal."""
