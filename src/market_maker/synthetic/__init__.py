"""Invented markets."""
