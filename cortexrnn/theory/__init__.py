"""What networks must do: steady states, stability, chaos, mean fields."""
