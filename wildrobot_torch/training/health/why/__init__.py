"""Why a policy acts as it does: evidence of a run or a policy, and rules that judge it."""
