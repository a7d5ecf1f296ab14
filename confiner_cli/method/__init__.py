"""The method: schedules, walks, structures and refinement. It knows torch and itself only."""
