"""One module for each page, with its views and their addresses."""
