"""The figure of README, drawn from the method's own timeline and lists of visits."""
