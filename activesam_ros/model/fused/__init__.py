"""SAM 3's prompt side with every step done as seldom as its inputs allow; equal to `activesam_ros.model.prompt_heads`.

Each class here wraps a module of transformers and uses its weights; the arithmetic is the same but for the order of
sums.
"""
