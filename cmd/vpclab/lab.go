package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/internal/render"
)

// goneTimeout bounds how long `down` waits for the agent's process.
const goneTimeout = 20 * time.Second

func (a *app) downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down [LAB]",
		Short: "Take a lab away, or all of them and the agent",
		Long: `Take a lab away. Without LAB all of them go, and the agent ends. Where the agent
was killed, what it left behind (devices, namespaces, sockets) is cleared away.`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeFirst("lab"),
		RunE: func(cmd *cobra.Command, args []string) error {
			lab := ""
			if len(args) > 0 {
				lab = args[0]
			}
			return a.down(cmd.Context(), lab)
		},
	}
}

func (a *app) down(ctx context.Context, lab string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	res, err := c.Down(ctx, &agent.DownRequest{Lab: lab}, a.progress)
	var failed *agent.Error
	if errors.As(err, &failed) && failed.Code == agent.CodeUnreachable {
		return a.clean(err)
	}
	if err != nil {
		return err
	}
	if res.Stopping {
		waiting, cancel := context.WithTimeout(ctx, goneTimeout)
		defer cancel()
		if err := c.WaitGone(waiting); err != nil && ctx.Err() == nil {
			return fmt.Errorf("the agent (pid %d) was told to end and is still there after %s", res.PID, goneTimeout)
		}
	}
	return a.printer().Removed(res)
}

// clean is `down` where no agent answers. That nobody is there is no failure: nothing is up, as asked for. An agent that is there
// and cannot be reached is one.
func (a *app) clean(unreachable error) error {
	dir, err := a.dataDir()
	if err != nil {
		return err
	}
	err = a.here.Clean(dir)
	var failed *agent.Error
	if errors.As(err, &failed) && failed.Code == agent.CodeInUse {
		return unreachable
	}
	if err != nil {
		return err
	}
	a.say("no agent is running; what one may have left behind is cleared away")
	return a.printer().Removed(&agent.DownResult{})
}

func (a *app) applyCommand() *cobra.Command {
	var dryRun, adopt bool
	var driver string
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Make a running lab be as its file says",
		Long: `Make the lab be as its file says, changing only what differs, in one step. Other
labs are not touched. A lab that is up from another file is refused, unless
--adopt says that this file takes it over.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := knownDriver(driver); err != nil {
				return err
			}
			file, err := a.readFile(args[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			res, err := c.Apply(cmd.Context(), &agent.ApplyRequest{File: file, Driver: driver, DryRun: dryRun, Adopt: adopt}, a.progress)
			if err != nil {
				return err
			}
			render.Problems(a.err, res.Warnings, a.colored(a.err))
			return a.printer().Applied(res)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be done")
	adoptFlag(cmd, &adopt)
	driverFlag(cmd, &driver)
	return cmd
}

func adoptFlag(cmd *cobra.Command, adopt *bool) {
	cmd.Flags().BoolVar(adopt, "adopt", false, "take over a lab of this name that is up from another file")
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "The agent, its labs and its instances", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			return a.printer().Status(s)
		},
	}
}
