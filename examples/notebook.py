"""The driver inside a notebook's process. Paste the cells (`# %%`) one by one, or run them all.

python examples/notebook.py
"""

# %% A driver of your own: no daemon, nothing to configure elsewhere
import tempfile

import numpy as np

from tensor_pool.client import connect
from tensor_pool.driver import (
    DriverConfig,
    DriverTable,
    EmbeddedDriver,
    PoliciesTable,
    Pool,
    Profile,
    ShmTable,
    StreamConfig,
)

memory = tempfile.TemporaryDirectory(prefix="tensor-pool-example-", dir="/dev/shm")
driver = EmbeddedDriver(
    DriverConfig(
        driver=DriverTable(aeron_dir=f"{memory.name}/aeron"),
        shm=ShmTable(base_dir=f"{memory.name}/pools"),
        policies=PoliciesTable(cleanup_shm_on_exit=True),
        profiles={"camera": Profile(header_nslots=8, payload_pools=(Pool(1, 1 << 20),))},
        streams={"left": StreamConfig(stream_id=10_000, profile="camera")},
    )
)
print(driver.report().snapshot.status.state)

# %% Both ends in one process; other processes may attach as well
pool = connect(driver.client_config())
camera = pool.producer(10_000)
viewer = pool.consumer(10_000)

# %% Publish, and look at it
while (frame := viewer.latest()) is None:
    camera.publish(np.arange(12, dtype=np.uint16).reshape(3, 4))
print(frame)
print(frame.array, frame.valid)

# %% Without a copy
with camera.loan((480, 640), np.uint8) as loan:
    loan.array[:] = 7
newest = viewer.receive(timeout=5)
while newest.shape != (480, 640):
    newest = viewer.receive(timeout=5)
print(newest.shape, int(newest.array[0, 0]))

# %% What happened so far
counters = viewer.metrics()
print({name: counters[name] for name in ("frames_ok", "drops_gap", "drops_late")})

# %% Tidy up; clients first
pool.close()
driver.close()
memory.cleanup()
