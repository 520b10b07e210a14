"""The published figures: each is made here, side by side with what it is compared with, in one run."""
