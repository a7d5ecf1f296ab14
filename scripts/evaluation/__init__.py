"""What a video shows and how well: by a judge and metrics that know the world, not confiner."""
