package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/vpclab/vpclab/api/agent"
)

// execHost has the agent run a program of the host, as if this process were it: in its directory, with its environment,
// its standard streams and the signals it gets. Without root a client cannot join the instance itself.
func (a *app) execHost(ctx context.Context, c *agent.Client, r *agent.ExecRequest, s agent.Streams) (int, error) {
	r.Env = os.Environ()
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	r.Dir = dir
	in, isIn := s.Stdin.(*os.File)
	out, isOut := s.Stdout.(*os.File)
	errs, isErr := s.Stderr.(*os.File)
	if !isIn || !isOut || !isErr {
		return c.Exec(ctx, r, s)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	ctx = context.WithoutCancel(ctx) // what a signal means is for the program to say
	if term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd())) {
		return execTerminal(ctx, c, r, in, out, signals)
	}
	return c.ExecFiles(ctx, r, [3]*os.File{in, out, errs}, signals)
}
