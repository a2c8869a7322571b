"""`python -m tensor_pool.driver` is the `tensor-pool` command."""

from . import main

main()
