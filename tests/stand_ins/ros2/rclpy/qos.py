"""Profiles by name."""

qos_profile_sensor_data = "best effort, the last five"
