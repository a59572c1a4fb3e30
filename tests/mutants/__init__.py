"""Planted faults: do the tests notice when the library is wrong?

``make mutants`` plants one fault after the other in a copy of the tree and runs the tests of the
rooms that it concerns; it can be stopped and goes on where it stood. A fault is caught where one of
them fails. Faults are named by the qualified name of what they change, so that they survive when
code moves within its function, and one that no longer finds its expression, or whose code never
runs, is an error.

``by_hand.py`` holds faults that somebody thought of, ``drawn.json`` operators that
``python -m tests.mutants --draw`` drew by chance.
"""
