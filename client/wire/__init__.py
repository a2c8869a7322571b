"""SBE codecs of the tensor pool protocol: message classes, encode, decode, in-place records."""
