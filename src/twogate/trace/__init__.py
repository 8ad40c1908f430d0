"""Traces: what happened to one request, step by step, and where it crossed between threads."""
