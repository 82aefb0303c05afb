//go:build !linux

package main

import (
	"context"
	"os"

	"github.com/vpclab/vpclab/api/agent"
)

// execTerminal is for programs of the host, which only Linux has.
func execTerminal(ctx context.Context, c *agent.Client, r *agent.ExecRequest, in, out *os.File, signals <-chan os.Signal) (int, error) {
	return c.ExecFiles(ctx, r, [3]*os.File{in, out, out}, signals)
}
