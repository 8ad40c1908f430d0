"""Filters for the lab's templates."""
