"""Types of an installed package as a user's checker finds them; read by `tests/typing/checkers.py`.

A package without types would make each name `Any`: then `assert_type` fails.
"""

from typing import assert_type

import numpy as np

from tensor_pool.client import ClientConfig, Consumer, Producer, PublishResult, connect
from tensor_pool.driver import DriverConfig, EmbeddedDriver
from tensor_pool.hsm import Machine, Outcome, State


class Door(Machine):
    Open = State()


with connect() as pool:
    camera = pool.producer("camera")
    assert_type(camera, Producer)
    assert_type(camera.publish(np.zeros(3)), PublishResult)
    assert_type(pool.consumer("camera"), Consumer)
    pool.producer(1.5)  # error

driver = EmbeddedDriver(DriverConfig())
assert_type(driver.client_config(), ClientConfig)
EmbeddedDriver("config")  # error

door = Door()
assert_type(door.dispatch("close"), Outcome)
assert_type(door.current.name, str)
door.current.nickname  # error
