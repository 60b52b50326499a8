"""The traces signal: spans, samplers' decisions, tracers and their provider."""
