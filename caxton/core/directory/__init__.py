"""Who is there and what they can do: FIPA's directory (FIPA00023), without clock, store or messages."""
