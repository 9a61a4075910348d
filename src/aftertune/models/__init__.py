"""A model before its weights load: what it is, whether its files are sound, and how it reads a chat."""
