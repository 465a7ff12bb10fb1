"""Offline reinforcement learning on data of mixed quality."""
