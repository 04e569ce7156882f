"""Data sets: published layouts, pairs of frame and mask, checks, augmentation."""
