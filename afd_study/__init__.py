"""Alignment from demonstrations: what can demonstrations alone do?"""

import os

__version__ = "0.1.0"

# oneDNN, beneath torch, keeps a kernel and its buffers for every shape of a product. Texts of many lengths
# have so many that a process with 135 M weights in bfloat16 grew to 10 GB in an hour. No number depends on
# it. It is read when torch is loaded, which this import comes before.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "100")
