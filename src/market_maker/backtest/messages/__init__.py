"""Requests on their way to the venue and answers on their way back: `kernel`."""
