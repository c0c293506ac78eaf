"""Gradient-domain machine learning of one molecule."""
