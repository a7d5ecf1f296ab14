"""The method: schedules, walks, structures and refinement. Knows torch and itself, nothing of configs, files or diffusers."""
