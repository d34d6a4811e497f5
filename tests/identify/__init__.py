"""Tests of identify."""
