"""SBE messages of the control (900) and driver (901) schemas."""
