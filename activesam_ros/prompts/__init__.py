"""From words to prompt embeddings."""
