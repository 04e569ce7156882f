"""What this machine is and has: processor, GPU, NVIDIA's software, installed packages."""
