import unittest

import solution


class Add(unittest.TestCase):
    def test_numbers(self):
        self.assertEqual(solution.add(2, 3), 5)

    def test_text(self):
        self.assertEqual(solution.add("a", "b"), "ab")
