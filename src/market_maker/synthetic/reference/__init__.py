"""The reference price: what an asset is worth to invented participants."""
