package agent

import (
	"context"
	"net/http"
)

// What PowerRequest may ask for.
const (
	PowerStart   = "start"
	PowerStop    = "stop"
	PowerRestart = "restart"
)

// PowerRequest starts or stops one instance of a lab that is up.
type PowerRequest struct {
	Lab      string `json:"lab,omitempty"`
	Instance string `json:"instance"`
	Action   string `json:"action"` // PowerStart, PowerStop or PowerRestart
}

// ConsoleRequest asks for an instance's console.
type ConsoleRequest struct {
	Lab      string `json:"lab,omitempty"`
	Instance string `json:"instance"`
}

// Power starts, stops or restarts an instance and gives what it then is.
func (c *Client) Power(ctx context.Context, r *PowerRequest) (*InstanceRow, error) {
	return call[InstanceRow](ctx, c, "power", r)
}

// Console joins s to an instance's console until s.Stdin ends, ctx ends (neither is an error), or the instance does. See
// Exec for what may outlive the call.
func (c *Client) Console(ctx context.Context, r *ConsoleRequest, s Streams) error {
	_, err := c.upgraded(ctx, "console", r, s)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// console upgrades the connection and joins it to an instance's console.
func (s *Server) console(w http.ResponseWriter, r *http.Request) {
	upgradeTo(s, w, r, func(*ConsoleRequest) error { return nil }, func(ctx context.Context, req *ConsoleRequest, io Streams) (int, error) {
		return 0, s.backend.Console(ctx, req, io)
	})
}
