"""What happens, told once: logs, metrics and traces are observers of the same named points."""
