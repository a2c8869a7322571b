"""`python -m tensor_pool.driver` is the `tensor-pool` command."""

from .cli import main

main()
