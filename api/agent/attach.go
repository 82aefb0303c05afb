package agent

import (
	"context"
	"net/netip"
)

// AttachRequest makes a TAP that another program holds an instance of a lab that is up. No file has it; it goes with
// its lab, or by DetachRequest.
type AttachRequest struct {
	Lab    string     `json:"lab,omitempty"` // only names of this lab; "" if the subnet's name is unique
	Device string     `json:"device"`        // network interface of the agent's host
	Netns  string     `json:"netns,omitempty"`
	Subnet string     `json:"subnet"`           // name or id
	Groups []string   `json:"groups,omitempty"` // names or ids; none: the VPC's default group
	Name   string     `json:"name,omitempty"`   // "": the device's
	IP     netip.Addr `json:"ip,omitzero"`      // zero: one is chosen
	MAC    string     `json:"mac,omitempty"`    // "": that of the first frame
}

// AttachResult is the instance that was made.
type AttachResult struct {
	Revision    uint64      `json:"revision"`
	Instance    InstanceRow `json:"instance"`
	InterfaceID string      `json:"network_interface_id"`
	Device      string      `json:"device"`
	MTU         int         `json:"mtu"`
	MAC         string      `json:"mac,omitempty"` // "": to be learnt from the first frame
	// What the program behind the device has to be told, since nothing else tells it.
	Prefix  netip.Prefix `json:"prefix"` // its address with the subnet's length
	Gateway netip.Addr   `json:"gateway"`
}

// DetachRequest undoes an AttachRequest. The device is left as it was.
type DetachRequest struct {
	Lab      string `json:"lab,omitempty"`
	Instance string `json:"instance"` // name or id
}

// DetachResult is the instance that is gone.
type DetachResult struct {
	Revision uint64 `json:"revision"`
	Lab      string `json:"lab"`
	Name     string `json:"name"`
	ID       string `json:"id"`
	Device   string `json:"device"`
}

// Attach makes a device an instance.
func (c *Client) Attach(ctx context.Context, r *AttachRequest) (*AttachResult, error) {
	return call[AttachResult](ctx, c, "attach", r)
}

// Detach undoes Attach.
func (c *Client) Detach(ctx context.Context, r *DetachRequest) (*DetachResult, error) {
	return call[DetachResult](ctx, c, "detach", r)
}
