"""The networks whose costs are counted, without memory, and at which sizes."""
