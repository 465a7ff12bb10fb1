"""From `Transitions` to how much each one should count."""
