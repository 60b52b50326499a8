"""Repeatable measurements. Each has a bare application and upstream beside ours, interleaved in one run, and
reports ratios of CPU time."""
