// Package lab owns the lab file: a person's description of VPCs, security groups, instances and tests.
//
// It parses the file strictly and says what is wrong with it where it stands (Parse), makes the model be as the file
// says in one transaction that touches only that lab's objects (Plan, Apply, Remove), and runs the file's tests
// against a running lab (Run) which it knows only as a World.
//
// It never starts an instance, never sends a packet and never judges one: that is the agent's, behind World.
//
// Read file.go first: the types are the file. Then parse.go, apply.go and run.go.
package lab
