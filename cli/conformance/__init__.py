"""The conformance kit: what can be seen of a driver, a producer or a consumer from outside.

It speaks raw Aeron and raw memory. Of this project it uses the message codecs, nothing of the
client and nothing of the driver, so that it judges ours as it judges any other.
"""
