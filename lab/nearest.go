package lab

import (
	"fmt"
	"slices"
	"strings"
)

// nearest gives the candidate that word was perhaps meant to be, or "": the one with the fewest edits, at most a
// third of the word's length, the first of several. A word of two letters is near to nothing but itself.
func nearest(word string, candidates []string) string {
	best, limit := "", len(word)/3
	for _, c := range candidates {
		if strings.EqualFold(c, word) {
			return c
		}
		if n := distance(strings.ToLower(word), strings.ToLower(c)); n <= limit && c != "" {
			best, limit = c, n-1
		}
	}
	return best
}

// distance is the number of characters to insert, delete, replace or swap with a neighbour that turns a into b
// (optimal string alignment).
func distance(a, b string) int {
	if abs(len(a)-len(b)) > 16 || len(a) > 256 {
		return 256
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

func abs(n int) int { return max(n, -n) }

// maxListed bounds the names that a message lists.
const maxListed = 12

// oneOf says what would be right where word is none of the candidates: the near one, or all of them if they are few.
func oneOf(what, word string, candidates []string) string {
	if n := nearest(word, candidates); n != "" {
		return fmt.Sprintf("did you mean %s?", n)
	}
	return list(what, candidates)
}

// list gives "the <what> are a, b and c"; "there are no <what>" if there are none.
func list(what string, names []string) string {
	switch {
	case len(names) == 0:
		return "there are no " + what
	case len(names) > maxListed:
		return fmt.Sprintf("the %s are %s and %d more", what, strings.Join(names[:maxListed], ", "), len(names)-maxListed)
	}
	return fmt.Sprintf("the %s are %s", what, and(names))
}

// and joins names: "a", "a and b", "a, b and c".
func and(names []string) string { return join(names, "and") }

// or joins names: "a", "a or b", "a, b or c".
func or(names []string) string { return join(names, "or") }

func join(names []string, word string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	head, last := names[:len(names)-1], names[len(names)-1]
	return strings.Join(slices.Clone(head), ", ") + " " + word + " " + last
}
