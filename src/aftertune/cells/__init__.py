"""The work of each kind of cell: read what it needs from the run, call one step, write what came out."""
