package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/vpclab/vpclab/internal/agent"
)

func main() {
	agent.ChildMain()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once, should cleaning up hang.
	context.AfterFunc(ctx, stop)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, uid: os.Geteuid(), now: time.Now, here: here}
	os.Exit(a.run(ctx, os.Args[1:]))
}
