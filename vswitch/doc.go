// Package vswitch is the switch: it takes frames from ports, runs each through the eight stages of
// pipeline.go, and writes it to the port of the network interface it is for.
//
// It owns the snapshot of the model that the data plane runs on, the workers, and the answers that
// a VPC's own router and address resolution give. The flow table itself is in vswitch/conntrack, the
// security groups in sg, the records in flowlogs. It never reads the model's store, never opens a
// device or a socket, and never looks at the wall clock but through Clock.
//
// Read pipeline.go first: it is a frame's journey, stage under stage.
package vswitch
