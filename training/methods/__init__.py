"""Training methods: supervised, pix2pix and distillation, with their losses and teachers."""
