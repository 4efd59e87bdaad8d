"""An inspected pair of models, reported in the terminal, as an HTML page and as JSON."""
