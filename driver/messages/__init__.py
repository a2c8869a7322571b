"""Messages: the adapter that decodes, the proxy that encodes, the outbox between."""
