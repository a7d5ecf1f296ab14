"""Experts: the only place that knows diffusers and peft."""
