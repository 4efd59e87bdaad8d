"""JSON over HTTP to one server: the connection, its failures and when a request is sent again.

Nothing here knows the content of a request. An answer is data: limited in size, parsed as JSON, never executed.
"""
