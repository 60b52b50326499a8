"""A small local OTLP receiver and its pages."""
