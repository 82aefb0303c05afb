// Package storetest is what every vpc.Store must do: Run is the suite, Invariants what must hold in every state.
//
// It owns no state and starts nothing; a store's own package calls Run from a test. Read run.go first.
package storetest
