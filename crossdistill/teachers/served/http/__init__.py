"""JSON over HTTP to one server: the connection, its failures and when a request is sent again.

Nothing here knows what is asked. An answer is data: it is limited in size, parsed as JSON and never executed.
"""
