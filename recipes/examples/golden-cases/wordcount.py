import collections, sys

words = collections.Counter(sys.stdin.read().lower().split())
for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0])):
    print(f"{count:4} {word}")
