"""The two doors: each takes an exchange to an application and its answer back."""
