// Package conntrack owns the flow table: what each network interface knows of each flow, its half.
//
// A half is found by [packet.Key]: interface, protocol, inside and outside address and port. It holds
// who opened the flow, the verdict and the rule of each direction, what comes next, the TCP state,
// and the counters of each direction. Hits take no lock and allocate nothing; inserts and deletes
// take one shard's lock for a short time, never two.
//
// The package never judges: verdicts, reasons and rules are numbers that the pipeline stores here, and
// whether a packet after the close is rejected is the pipeline's word. It never reads a clock, runs no
// goroutine, and knows no policy.
//
// Read half.go first (what a slot is), then page.go (where slots lie), index.go (how they are found),
// epoch.go (when a slot may be used again), tcp.go (the states).
package conntrack
