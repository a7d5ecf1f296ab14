"""What a video shows and how well: tracking, a judge and metrics that know the rendered world, not confiner."""
