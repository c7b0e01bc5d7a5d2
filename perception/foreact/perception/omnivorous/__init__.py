"""One encoder for colours, depth and segments: the same tokens whatever sensor a scene was seen with.

Source: Kabra et al. 2026, "A mixed diet makes DINO an omnivorous vision encoder", arXiv 2602.24181.
"""
