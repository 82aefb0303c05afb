// Command vpclab is the one binary: the command line of a userspace VPC, and the agent that runs it.
//
// It owns flags, arguments and exit codes. It has no logic of its own: requests go to an agent over its socket (package
// api/agent), answers are printed by internal/render, and what has to happen in this process (running an agent,
// checking a file without one, joining an instance) is internal/agent's, behind the interface in local.go.
//
// Read root.go first; each command is one function of the file that is named after it.
package main
