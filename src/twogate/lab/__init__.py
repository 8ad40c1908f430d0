"""The lab: where a learner watches both gateways, builds, practises and remembers.

It stands on top of all other rooms and may know Django. What it teaches is run, never only said.
"""
