"""The fused path: SAM 3's prompt heads without repeated work, equal to `activesam_ros.model.prompt_heads`.

Each class wraps a module of transformers and uses its weights; only the order of sums differs.
"""
