"""What leaves this machine toward the provider: its protocol, the catalogue, Runway's API, transports."""
