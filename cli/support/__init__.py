"""What commands share: connection options, exit status, signals."""
