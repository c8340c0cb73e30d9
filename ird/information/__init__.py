"""What it would be worth to know the reward, what to ask, and how to write it so that it need not be known.

`value_of_information` and `value_of_answer` say when to ask rather than be careful, `next_question` what; `rewrite`
finds the smallest change of a proxy after which taking it at its word is good enough.
"""

from ird.information._rewrite import Rewrite, rewrite
from ird.information._value import Information, Question, next_question, value_of_answer, value_of_information

__all__ = [
    "Information",
    "Question",
    "Rewrite",
    "next_question",
    "rewrite",
    "value_of_answer",
    "value_of_information",
]
__dir__ = __all__.copy
