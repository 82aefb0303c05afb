// Package agent is the composition root: it builds one node out of the model's store, the switch, the
// flow log, the instance drivers and the API, and keeps them in step.
//
// It owns the order of things: a change of the model is applied to every worker before its request
// returns, an instance is plugged in before it is said to run, records are drained before they are
// read. It never judges a packet, never parses a command line, and prints nothing.
//
// Read node.go first, then run.go (the process) and labs.go (what apply does).
package agent
