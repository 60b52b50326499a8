"""What a process has connections to, for its health: each file has one library tell how it is asked."""
