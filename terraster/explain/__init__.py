"""Explain: what Terraster does with a request, and why. The code that decides is that of traffic; nothing is sent."""
