"""Processes: who binds, who forks, who serves, and what happens when one of them dies."""
