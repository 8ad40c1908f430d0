"""The commands that ``manage.py`` finds; the names of the modules are theirs."""
