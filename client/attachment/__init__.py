"""An attachment: the leased connection of one handle to one stream, and its machine."""
