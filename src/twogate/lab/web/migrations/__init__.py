"""Tables of the lab, by version."""
