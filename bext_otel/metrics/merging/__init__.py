"""What workers publish of their metrics, and how it adds up."""
