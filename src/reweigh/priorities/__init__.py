"""From `Transitions` to how much each of them should count."""
