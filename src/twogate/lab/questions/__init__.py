"""The questions, one module for each topic; :mod:`twogate.lab.bank` finds them here.

The name of a module is its topic, the name of a proof is the key of its question. A proof's body is
shown and run as a program of its own, so it imports all that it uses.
"""
