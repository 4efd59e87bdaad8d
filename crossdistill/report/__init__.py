"""Reports for people, in the terminal and as HTML files: a run, an alignment, an inspected pair.

Importing this package loads nothing. HTML pages and their charts need the extra ``report``.
"""
