"""Networks, discriminators, pretrained encoders, and their weight files."""
