package vpc

import "strings"

// nearestType is the name of the type that was probably meant, "" if none is near.
func nearestType(word string) string {
	key := typeKey(word)
	best, distance := "", 3
	if len(key) < 4 {
		distance = 2
	}
	for k, t := range ruleTypes {
		n := editDistance(key, k)
		if n < distance || n == distance && best != "" && t.name < best {
			best, distance = t.name, n
		}
	}
	return strings.ReplaceAll(best, " - ", "-")
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours that make b of a.
// Both are short; what is too far apart in length is not looked at closely.
func editDistance(a, b string) int {
	if d := len(a) - len(b); d > 3 || d < -3 {
		return 4
	}
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}
