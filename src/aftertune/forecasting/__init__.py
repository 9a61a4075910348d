"""Forecasting: what the data say before anything is tuned."""
