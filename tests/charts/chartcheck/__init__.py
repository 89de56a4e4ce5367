"""Holds the charts to the drop-in contract, with the real Helm engine."""
