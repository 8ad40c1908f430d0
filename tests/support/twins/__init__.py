"""One request, answered twice: by Django's own handler and by ours, from the same state.

:mod:`.site` is the project under test, :mod:`.cases` draws cases for it, :mod:`.drive` answers
them and notes all that can be noticed.
"""
