package main

import (
	"bytes"
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vpclab/vpclab/api/agent"
)

// leaveKey is Ctrl-], with which telnet and virsh leave a console too.
const leaveKey = 0x1d

func (a *app) consoleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "console INSTANCE",
		Short: "Type at a virtual machine's console",
		Long: `Type at a virtual machine's console; Ctrl-] leaves it, and the machine goes on. What
it prints while nobody is there is in a file that vpclab show names. Ends with
standard input where that is no terminal.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFirst("instance"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.console(cmd.Context(), &agent.ConsoleRequest{Lab: a.lab, Instance: args[0]})
		},
	}
	a.labFlag(cmd)
	return cmd
}

func (a *app) console(ctx context.Context, r *agent.ConsoleRequest) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	streams := agent.Streams{Stdin: &untilKey{r: a.in, key: leaveKey, leave: leave}, Stdout: a.out, Stderr: a.err}
	if f, ok := a.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		a.say("at the console of %s; Ctrl-] leaves it", r.Instance)
		old, err := term.MakeRaw(int(f.Fd()))
		if err != nil {
			return err
		}
		defer a.say("") // the cursor is anywhere
		defer term.Restore(int(f.Fd()), old)
	}
	return c.Console(ctx, r, streams)
}

// untilKey is a reader that ends at a key, and calls leave.
type untilKey struct {
	r     io.Reader
	key   byte
	leave func()
	ended bool
}

// Read implements io.Reader.
func (u *untilKey) Read(p []byte) (int, error) {
	if u.ended {
		return 0, io.EOF
	}
	n, err := u.r.Read(p)
	if i := bytes.IndexByte(p[:n], u.key); i >= 0 {
		u.ended = true
		u.leave()
		return i, io.EOF
	}
	return n, err
}

// powerCommand is start, stop or restart.
func (a *app) powerCommand(verb, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use: verb + " INSTANCE", Short: short, Long: short + ". " + long,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFirst("instance"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			row, err := c.Power(cmd.Context(), &agent.PowerRequest{Lab: a.lab, Instance: args[0], Action: verb})
			if err != nil {
				return err
			}
			return a.printer().Instances([]agent.InstanceRow{*row})
		},
	}
	a.labFlag(cmd)
	return cmd
}

func (a *app) powerCommands() []*cobra.Command {
	return []*cobra.Command{
		a.powerCommand(agent.PowerStart, "Start an instance that does not run", "Its addresses and rules are what they were."),
		a.powerCommand(agent.PowerStop, "Stop an instance", "A virtual machine is asked to power off, and\nswitched off if it does not. The instance keeps its addresses."),
		a.powerCommand(agent.PowerRestart, "Stop an instance and start it again", "Also one that ended by itself:\nvpclab status says why."),
	}
}
