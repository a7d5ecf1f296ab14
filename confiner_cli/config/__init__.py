"""Configs: from what a person asked for to a job that is decided. Alone knows Hydra, OmegaConf."""
