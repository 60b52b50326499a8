"""Log records: one chain, several sinks.

Nothing is imported here: upstream's SDK for logs detects resources when it is imported, in threads, and as
variables say that have to be corrected first.
"""
