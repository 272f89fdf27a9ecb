"""Where workflows are kept: `protocol` says what a store does, each other module is one of them."""
