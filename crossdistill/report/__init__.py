"""What a run leaves for people to read: the alignment view, in the terminal and as HTML, and the run's report.

Nothing is imported here: `view` needs numpy, `terminal` rich, `html` jinja2, and its charts matplotlib.
"""
