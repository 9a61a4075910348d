"""The run folder, and how jobs are run; nothing here knows what a job does."""
