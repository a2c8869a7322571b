"""Client library: attach, publish and receive frames through leased shared memory."""
