"""The demo of the bridge: a camera on one host, two viewers on another (`make demo-bridge`)."""
