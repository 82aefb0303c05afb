// Package e2e tests the program as people use it: it is built once, run as real processes with data directories of their
// own, and asked for what it prints, how it exits, what crosses the instances' devices and what it leaves behind.
//
// It owns no code but tests, which need Linux. Those about netns instances need root and say so where they have it not;
// the others run as anybody. Traffic stays inside the network namespaces of the labs.
//
// Read main_test.go first, then host_test.go: a host is one data directory with an agent. Programs that run on instances
// are the test binary itself (helper_test.go). Each other file holds one promise of the program.
package e2e
