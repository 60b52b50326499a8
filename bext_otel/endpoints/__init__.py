"""What a reading looks like from outside."""
