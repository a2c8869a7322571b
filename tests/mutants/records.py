"""All mutants."""

from __future__ import annotations

from tests.mutants import of_client, of_driver, of_hsm, of_memory
from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS: tuple[Mutant, ...] = (
    *of_hsm.MUTANTS,
    *of_memory.MUTANTS,
    *of_client.MUTANTS,
    *of_driver.MUTANTS,
)
