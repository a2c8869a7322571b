"""`tensor-pool demo`: real images through leased shared memory, a crash included."""
