"""Web frameworks: what each tells of the requests that its applications serve."""
