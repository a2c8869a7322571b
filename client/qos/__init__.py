"""The QoS monitor: rates, lag, drops and a state for every producer and consumer of a pool."""
