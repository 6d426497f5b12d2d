"""Route policies in versions: where the calls of models that name one go, and what a call's route would be."""
