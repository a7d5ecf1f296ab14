"""What decides UMT5's architecture (arXiv 2304.09151), by transformers' names."""

from __future__ import annotations

READ = (
    "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads",
    "relative_attention_num_buckets", "relative_attention_max_distance", "layer_norm_epsilon",
    "feed_forward_proj", "dense_act_fn", "is_gated_act",
)  # fmt: skip
