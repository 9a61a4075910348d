"""A design as cells: what it names, looked up; what it cannot have, refused; what there is to do; what it costs."""
