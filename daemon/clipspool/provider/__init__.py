"""All that is sent to the provider: its protocol, the catalogue of models, Runway's API, transports."""
