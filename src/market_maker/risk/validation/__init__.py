"""Are the risk figures right? Forecasts held against what happened."""
