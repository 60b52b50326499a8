"""What the instrumentors have in common."""
