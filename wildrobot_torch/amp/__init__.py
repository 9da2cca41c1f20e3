"""Adversarial motion prior: a discriminator whose opinion of the motion is a reward."""
