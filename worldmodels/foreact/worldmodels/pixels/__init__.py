"""Multi-future models that see pictures: frames of true futures, latents of them, futures in the space of latents."""
