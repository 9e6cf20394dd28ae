"""Settings in, a running daemon out: the one place that builds the parts and connects them."""
