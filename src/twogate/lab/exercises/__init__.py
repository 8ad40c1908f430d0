"""Build: exercises whose answers are programs, and the checks that run them."""
