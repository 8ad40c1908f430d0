"""Django's own public tests, run against Twogate's handlers with Django's stock ones as the oracle.

The tests come from the source package of exactly the Django that is installed. They run twice, with
the stock handlers and with ours, and whatever the stock ones pass ours must pass, too. ``python -m
tests.oracle`` is the command; it needs the network once for each version of Django.
"""
