"""Log records: one chain, several sinks."""
