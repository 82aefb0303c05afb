//go:build linux && !race

package e2e

// raceEnabled says that this binary is built with the race detector; the program then is too.
const raceEnabled = false
