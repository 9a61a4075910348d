"""Integrations that let other tools use aftertune from within."""
