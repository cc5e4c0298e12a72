"""How the bundled networks are trained: data, recipes, the loop."""
