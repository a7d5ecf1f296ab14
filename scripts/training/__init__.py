"""How the embedded experts were trained: one file a network, and the loop they share."""
