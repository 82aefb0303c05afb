package main

import (
	"context"
	"os"
	"time"

	"github.com/vpclab/vpclab/internal/agent"
)

func main() {
	agent.ChildMain()
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, uid: os.Geteuid(), now: time.Now, here: here}
	os.Exit(a.run(untilSignal(context.Background()), os.Args[1:]))
}
