"""Judging: judges, their anchors, and the job that lets one read answers."""
