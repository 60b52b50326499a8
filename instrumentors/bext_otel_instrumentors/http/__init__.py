"""HTTP servers: requests and websockets."""
