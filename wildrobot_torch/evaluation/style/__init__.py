"""How much a policy moves like its reference, in numbers that are shown to tell motions apart."""
