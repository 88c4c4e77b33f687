"""How networks learn: optimisers and their schedules."""
