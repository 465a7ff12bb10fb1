"""Text -> config: flags, presets, sampler strings, dotted settings."""
