"""The generator of codecs and of the message reference; not part of the wheel."""
