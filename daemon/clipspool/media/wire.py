"""What the daemon and its decoding process agree on: one message a call, one an answer, files beside it."""

CALL_BYTES_MAX = 1 << 16
FILES_MAX = 3
