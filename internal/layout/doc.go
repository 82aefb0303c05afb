// Package layout holds the tests of the repository's shape: who may import whom, how long files may be,
// that no test is forgotten. It has no code that runs.
package layout
