"""The examples in the docstrings of the driver's edges."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "config.layout",
        "config.load",
        "config.keys",
        "config.records",
        "config.values",
        "core.log_limit",
        "http.listener",
    ],
)
def test_the_examples_of_a_module_hold(name: str) -> None:
    module = importlib.import_module(f"tensor_pool.driver.{name}")
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
