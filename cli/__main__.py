"""`python -m tensor_pool.cli` is the `tensor-pool` command."""

from . import main

main()
