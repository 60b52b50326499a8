"""A small HTTP server on the standard library, for the endpoints and the viewer: one thread that waits, and
bounds for all that a client can do."""
