"""Configs: from what a person asked for to a job that is decided. The only place that knows Hydra and OmegaConf."""
