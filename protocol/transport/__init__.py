"""The transport of messages: its ports, and Aeron."""
