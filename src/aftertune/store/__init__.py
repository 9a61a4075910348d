"""What lies on disk: the run folder, and files that are whole or absent."""
