"""What an audit looks like; each report takes an audit and returns text, and finds nothing."""
