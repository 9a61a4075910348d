"""Data files: conversations, tables of rows, and where public data sets lie."""
