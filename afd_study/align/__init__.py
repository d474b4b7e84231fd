"""Alignment from demonstrations alone: their files, how a model reads them, what tells texts apart."""
