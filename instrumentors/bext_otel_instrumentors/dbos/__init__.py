"""DBOS."""
