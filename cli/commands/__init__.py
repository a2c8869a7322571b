"""The commands that look at a pool, put frames into it and take them out, one module each.

`declared.py` and its neighbours hold what the command line shows; everything else here is imported
when a command runs, so that `tensor-pool --help` stays quick.
"""
