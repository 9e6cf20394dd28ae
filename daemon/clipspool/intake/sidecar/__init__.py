"""From the bytes of a sidecar to the settings of a clip, or to a problem that its editor understands."""
