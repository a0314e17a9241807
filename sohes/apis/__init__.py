"""What a person calls: a folder in, labels out."""
from sohes.apis.generate import UsageError, generate

__all__ = ['UsageError', 'generate']
