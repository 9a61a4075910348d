"""The parts of the HTML page, a file each, as plain values that the templates draw."""
