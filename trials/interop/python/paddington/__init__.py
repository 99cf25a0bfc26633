"""A second implementation of paddington's `sealed` protocol, written from docs/protocol.md alone."""
