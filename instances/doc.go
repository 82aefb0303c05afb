// Package instances owns what a user attaches to a VPC: the hosts at the far end of a network
// interface, started by a Driver, reached by the data plane through a vswitch.Port and by probes
// through a Network.
//
// It never judges, routes or answers a packet on behalf of the VPC, and it knows nothing of the
// model: a Spec tells it all. The drivers are in the folders netns and netstack; the servers that
// every instance can run are in server.go.
//
// Read driver.go first.
package instances
