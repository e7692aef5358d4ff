"""Value at risk and expected shortfall by ten models; each file is one family, `models` names them all."""
