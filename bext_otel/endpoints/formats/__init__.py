"""What `/metrics` answers: a snapshot as text, protocol buffers or JSON."""
