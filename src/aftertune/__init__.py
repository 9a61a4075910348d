"""What fine-tuning did to a language model."""
