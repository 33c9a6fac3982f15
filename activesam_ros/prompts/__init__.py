"""From the prompts of a vocabulary to the embeddings that the model's heads take."""
