"""What the first steps of training do: nets that are trained together, and what their signals become."""
