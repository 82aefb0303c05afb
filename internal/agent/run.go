package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/netns"
	"github.com/vpclab/vpclab/instances/netstack"
	"github.com/vpclab/vpclab/instances/qemu"
	"github.com/vpclab/vpclab/instances/tap"
)

// Options is what an agent is started with.
type Options struct {
	DataDir string // everything the agent keeps is below it; one agent holds it
	Driver  string // of instances that name none: "netns", "netstack", or "auto" and "": the best that works here
	Version string
	Log     *slog.Logger // nil: standard error
}

// shutdownTimeout bounds how long requests may hold up the end of the agent.
const shutdownTimeout = 5 * time.Second

// Run runs one agent in this process until ctx is done or a client asks it to end. It holds the data
// directory, clears away what an agent that died left there, serves the API on the directory's socket, and calls ready
// once it answers. When it returns, no instance, device or namespace of it is left.
func Run(ctx context.Context, o Options, ready func()) (err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	lock, err := api.LockDataDir(o.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := clean(o.DataDir); err != nil {
		return err
	}
	n, err := newNode(o, o.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	return n.serve(ctx, lock, ready)
}

// serve answers requests until ctx is done or one asks the agent to end.
func (n *node) serve(ctx context.Context, lock *api.Lock, ready func()) error {
	listener, err := lock.Listen()
	if err != nil {
		return err
	}
	server := api.NewServer(n)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	keeping, stop := context.WithCancel(context.Background())
	kept := make(chan struct{})
	go func() { n.housekeep(keeping); close(kept) }()
	defer func() { stop(); <-kept }()
	if ready != nil {
		ready()
	}
	select {
	case <-ctx.Done():
	case <-server.Stopping():
	case err := <-served:
		return fmt.Errorf("the agent's socket failed: %w", err)
	}
	// A client that is still connected must not keep instances alive.
	bounded, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(bounded); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// Clean removes what an agent that was killed left behind. It refuses while an agent holds the directory.
func Clean(dataDir string) (err error) {
	if _, err := os.Stat(dataDir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock, err := api.LockDataDir(dataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	return clean(dataDir)
}

func clean(dataDir string) error {
	run := filepath.Join(dataDir, runDirectory)
	var errs []error
	for _, d := range drivers() {
		errs = append(errs, d.Cleanup(run))
	}
	return errors.Join(errs...)
}

// drivers are the kinds of instances that this program can run.
func drivers() map[string]instances.Driver {
	out := map[string]instances.Driver{}
	for _, d := range []instances.Driver{netns.New(), netstack.New(), qemu.New(), tap.New()} {
		out[d.Name()] = d
	}
	return out
}

// how says how a driver goes about it, where there is a choice.
func how(d instances.Driver) string {
	e, ok := d.(interface{ Explain() (string, error) })
	if !ok {
		return ""
	}
	text, err := e.Explain()
	if err != nil {
		return ""
	}
	return ": " + text
}

// preferred lists the drivers for instances that name none, best first.
var preferred = []string{"netns", "netstack"}

// ChooseDriver says which driver runs instances that name none: the one asked for, or the best that
// works here. why is one line for people.
func ChooseDriver(want string) (name, why string, err error) {
	all := drivers()
	if want != "" && want != "auto" {
		d := all[want]
		if d == nil {
			return "", "", &api.Error{Code: api.CodeNoDriver, Field: "driver", Message: fmt.Sprintf("there is no driver %q; there are netns, netstack and qemu", want)}
		}
		if err := d.Available(); err != nil {
			return "", "", &api.Error{Code: api.CodeNoDriver, Field: "driver", Message: fmt.Sprintf("%s: %v", want, err)}
		}
		return want, want + how(d) + ", as asked for", nil
	}
	var lacks error
	for _, name := range preferred {
		err := all[name].Available()
		if err == nil && lacks == nil {
			return name, name + how(all[name]), nil
		}
		if err == nil {
			return name, fmt.Sprintf("%s (%v)", name, lacks), nil
		}
		lacks = err
	}
	return "", "", &api.Error{Code: api.CodeNoDriver, Message: lacks.Error()}
}
