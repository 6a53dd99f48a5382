"""Recipes: named values for keys of ``model``, ``training`` and ``modalities`` that a study leaves out."""

from m3h_pipeline.config.recipes.laying import with_recipes
from m3h_pipeline.config.recipes.values import RECIPES, Recipe, RecipeName, keys_of, merged

__all__ = ["RECIPES", "Recipe", "RecipeName", "keys_of", "merged", "with_recipes"]
