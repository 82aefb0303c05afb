// Package agent is the agent's own API: HTTP and JSON over a unix socket in the data directory, its server, and its client.
//
// It owns the wire types (types.go, lists.go, show.go, labs.go), the Backend interface that the agent implements (backend.go), the
// typed errors (errors.go), the streams (stream.go: JSON lines; exec.go: framed standard streams over an upgraded
// connection), and the data directory's lock and socket (lock.go). It never looks into a packet, a lab file or the
// model: what a request means is the Backend's business, what it looks like on a terminal is internal/render's.
//
// Read backend.go first.
package agent
