package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vpclab/vpclab/api/agent"
)

// session is an agent to talk to, and whose it is.
type session struct {
	client *agent.Client
	own    bool            // it runs in this process (or, detached, was started by it)
	ended  <-chan struct{} // closed when an agent in this process has ended; else nil
	stop   func() error    // ends an agent in this process, waits for it and gives its error; else does nothing
}

// session gives the agent of the data directory; where none runs, one is started in this process.
func (a *app) session(ctx context.Context, driver string) (*session, error) {
	s, err := a.running(ctx)
	if s != nil || err != nil {
		return s, err
	}
	dir, err := a.dataDir()
	if err != nil {
		return nil, err
	}
	// The agent outlives ctx: what an interrupted command still has to say to it comes first.
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready, ended := make(chan struct{}), make(chan struct{})
	var failed error
	go func() {
		defer close(ended)
		failed = a.here.Run(runCtx, dir, driver, func() { close(ready) })
	}()
	stop := func() error { cancel(); <-ended; return failed }
	select {
	case <-ready:
		return &session{client: agent.NewClient(dir), own: true, ended: ended, stop: stop}, nil
	case <-ended:
		return nil, cmp.Or(stop(), errors.New("the agent ended before it was ready"))
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), stop())
	}
}

// running gives the agent that runs already, nil if none does.
func (a *app) running(ctx context.Context) (*session, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	_, err = c.Status(ctx)
	var failed *agent.Error
	if errors.As(err, &failed) && failed.Code == agent.CodeUnreachable {
		return nil, nil // if one is there but out of reach, starting another fails and says why
	}
	if err != nil {
		return nil, err
	}
	return &session{client: c, stop: func() error { return nil }}, nil
}

// background gives the agent of the data directory; where none runs, one is started that outlives this process.
func (a *app) background(ctx context.Context, driver string) (*session, error) {
	s, err := a.running(ctx)
	if s != nil || err != nil {
		return s, err
	}
	dir, err := a.dataDir()
	if err != nil {
		return nil, err
	}
	if err := a.spawn(ctx, dir, driver); err != nil {
		return nil, err
	}
	return &session{client: agent.NewClient(dir), own: true, stop: func() error { return nil }}, nil
}

// readyLine is what an agent in the background writes when its socket answers; else it writes an agent.Error as JSON.
const readyLine = "ready\n"

// spawn starts this program as an agent in a session of its own and waits until it is ready.
func (a *app) spawn(ctx context.Context, dir, driver string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &agent.Error{Code: agent.CodeNoPermission, Where: dir, Message: "cannot make the data directory: " + plain(err).Error(), Fix: "use another one with --data-dir"}
	}
	log, err := os.OpenFile(agent.LogPath(dir), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return &agent.Error{Code: agent.CodeNoPermission, Where: dir, Message: "cannot write the agent's log: " + plain(err).Error(), Fix: "use another data directory with --data-dir"}
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(self, "agent", "--data-dir", dir, "--driver", driver, "--ready-fd", "3")
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })()
	answer, _ := io.ReadAll(r) // whatever came; the pipe closes when the agent is ready or ends
	if string(answer) == readyLine {
		return cmd.Process.Release()
	}
	return errors.Join(ctx.Err(), startError(answer, cmd.Wait(), dir))
}

// startError says why an agent in the background did not start.
func startError(answer []byte, ended error, dir string) error {
	e := new(agent.Error)
	if json.Unmarshal(answer, e) == nil && e.Message != "" {
		return e
	}
	how := "it exited"
	if ended != nil {
		how = ended.Error()
	}
	return &agent.Error{Code: agent.CodeInternal, Message: "the agent did not start: " + how, Fix: "its messages are in " + agent.LogPath(dir)}
}

// agentCommand is what spawn starts. It is hidden: people type `up`.
func (a *app) agentCommand() *cobra.Command {
	var driver string
	var fd int
	cmd := &cobra.Command{
		Use: "agent", Short: "Run an agent until it is told to end", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			tell := func(string) {}
			if fd > 2 {
				pipe := os.NewFile(uintptr(fd), "ready")
				tell = func(s string) { io.WriteString(pipe, s); pipe.Close() }
			}
			err = a.here.Run(cmd.Context(), dir, driver, func() { tell(readyLine) })
			var failed *agent.Error
			if errors.As(err, &failed) {
				raw, _ := json.Marshal(failed) // strings always marshal
				tell(string(raw))
			}
			return err
		},
	}
	driverFlag(cmd, &driver)
	cmd.Flags().IntVar(&fd, "ready-fd", 0, "the descriptor to tell that the agent is ready")
	return cmd
}

var drivers = []string{"auto", "netns", "netstack"}

func driverFlag(cmd *cobra.Command, driver *string) {
	cmd.Flags().StringVar(driver, "driver", "auto", "how instances run: "+strings.Join(drivers, ", ")+" (auto: netns where it works)")
	cmd.RegisterFlagCompletionFunc("driver", cobra.FixedCompletions(drivers, cobra.ShellCompDirectiveNoFileComp))
}

func knownDriver(driver string) error {
	for _, d := range drivers {
		if d == driver {
			return nil
		}
	}
	return usage("--driver: %s is none of %s", strconv.Quote(driver), strings.Join(drivers, ", "))
}
