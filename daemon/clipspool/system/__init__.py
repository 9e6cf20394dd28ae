"""The operating system and the wire, with limits: lasting files, mounts, HTTP, systemd, logs, redaction."""
