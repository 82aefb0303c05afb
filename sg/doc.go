// Package sg compiles security groups and judges packets by them.
//
// It owns the meaning of rules: which of them admits a packet, which counts as the one that did
// (query.go), whether the flow is then tracked or untracked, and which rule came nearest to
// admitting what none did. A *Policy is the union of the rules of one set of groups, immutable, and
// shared by all network interfaces with that set.
//
// It never keeps flows, never reads a packet's bytes, never asks who is a member of a group (the
// caller tells it in Query.RemoteGroups, so that an instance that joins a group compiles nothing),
// and never validates rules: that is package vpc's.
//
// How a verdict is found: every pair of a rule and a peer gets an *order*, its place in the list of
// all of them, the most permissive first; the verdict is the lowest order that matches. For each
// direction and protocol a class (class.go) finds it: one longest-prefix match leads to the ports
// of that prefix and of all wider ones, held in a persistent segment tree (ports.go), so that both
// steps are logarithmic however rules nest. The same rules written as a loop are in naive_test.go,
// and a fuzzer compares the two.
//
// Read query.go first, then compile.go.
package sg
