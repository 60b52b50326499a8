"""Plugins' hooks."""
