"""The learning storey: motion, reference, AMP, PPO, training, evaluation and deployment."""
