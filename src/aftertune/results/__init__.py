"""What a finished run says: gathered for the report, measured, tabulated, summed up, exported."""
