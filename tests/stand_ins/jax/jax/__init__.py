"""The part of JAX that the guide on torch and JAX uses, on NumPy.

JAX and its libraries take 500 MB. `make test-jax` installs them and runs the same programs.
"""
