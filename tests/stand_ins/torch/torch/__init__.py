"""The part of torch that the guide and the tests of `tensor_pool.client.torch` use, on NumPy.

torch and its libraries take 5 GB. `make test-torch` installs them and runs the same tests.
"""

import numpy

uint8 = numpy.uint8
from_dlpack = numpy.from_dlpack
full = numpy.full
stack = numpy.stack
