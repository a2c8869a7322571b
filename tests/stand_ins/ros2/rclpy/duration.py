"""A length of time."""


class Duration:
    def __init__(self, *, nanoseconds: int) -> None:
        self.nanoseconds = nanoseconds
