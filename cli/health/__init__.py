"""One verdict for a pool, its driver, streams, consumers and bridges (S-170 to S-172)."""
