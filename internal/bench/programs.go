package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// programs is how many are measured: as many as HumanEval has problems, which these resemble.
const programs = 164

// functions are solutions with their tests; %d makes each of the programs another one.
var functions = []string{`
def has_close_elements(numbers, threshold):
    for i, a in enumerate(numbers):
        for b in numbers[i + 1:]:
            if abs(a - b) < threshold:
                return True
    return False

n = %d
assert has_close_elements([1.0, 2.0, 3.9, 4.0, 5.0 + n, 2.2], 0.3)
assert not has_close_elements([1.0, 2.0, 3.9, 5.0 + n], 0.05)
`, `
def separate_groups(text):
    groups, current, depth = [], [], 0
    for c in text:
        if c in "()":
            depth += 1 if c == "(" else -1
            current.append(c)
            if depth == 0:
                groups.append("".join(current))
                current = []
    return groups

n = %d
assert separate_groups("( ) (( )) " * n) == ["()", "(())"] * n
`, `
def largest_prime_factor(n):
    factor, largest = 2, 1
    while factor * factor <= n:
        while n %% factor == 0:
            largest, n = factor, n // factor
        factor += 1
    return max(largest, n)

n = %d
assert largest_prime_factor(13195) == 29
assert largest_prime_factor(2 ** n * 3) == 3
`, `
from collections import Counter

def histogram(text):
    counts = Counter(text.split())
    most = max(counts.values(), default=0)
    return {word: n for word, n in counts.items() if n == most}

n = %d
assert histogram("a b b a " * n) == {"a": 2 * n, "b": 2 * n}
assert histogram("") == {}
`, `
import math
from typing import List

def rescale(numbers: List[float]) -> List[float]:
    low, high = min(numbers), max(numbers)
    return [(x - low) / (high - low) for x in numbers]

n = %d
assert math.isclose(sum(rescale([float(i) for i in range(n + 2)])), (n + 2) / 2)
`, `
def fib4(n):
    values = [0, 0, 2, 0]
    for _ in range(4, n + 1):
        values = values[1:] + [sum(values)]
    return values[min(n, 3)] if n > 3 else values[n]

n = %d
assert [fib4(i) for i in (5, 6, 7)] == [4, 8, 14]
assert fib4(n + 20) > fib4(n + 10)
`, `
import re

def decode_cyclic(text):
    groups = [text[i:i + 3] for i in range(0, len(text), 3)]
    return "".join(g[-1] + g[:-1] if len(g) == 3 else g for g in groups)

n = %d
assert decode_cyclic("bca" * n) == "abc" * n
assert re.fullmatch(r"(abc)+", decode_cyclic("bca" * n))
`}

const pythonRecipe = `version: 1
name: python-programs
cases: {file: programs.jsonl}
files:
  - {content: "${{ case.program }}", dst: main.py}
steps:
  - argv: [` + python + `, main.py]
`

// writePrograms writes the programs into dir: a recipe with its rows, and files with a list of their paths.
func writePrograms(dir string) (list string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	var rows, paths bytes.Buffer
	for i := range programs {
		program := fmt.Sprintf(functions[i%len(functions)], i+1)
		row, err := json.Marshal(map[string]any{"id": fmt.Sprintf("p%03d", i), "program": program})
		if err != nil {
			return "", err
		}
		rows.Write(append(row, '\n'))
		path := filepath.Join(dir, fmt.Sprintf("p%03d.py", i))
		if err := os.WriteFile(path, []byte(program), 0o644); err != nil {
			return "", err
		}
		fmt.Fprintln(&paths, path)
	}
	list = filepath.Join(dir, "list")
	for path, content := range map[string][]byte{
		list: paths.Bytes(), filepath.Join(dir, "programs.jsonl"): rows.Bytes(), filepath.Join(dir, "recipe.yaml"): []byte(pythonRecipe),
	} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return "", err
		}
	}
	return list, nil
}
