PEERS = []
CASES = []
