"""Data sets: published layouts, frame and mask pairs, checks, augmentation."""
