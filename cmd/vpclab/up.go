package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/internal/render"
)

// downTimeout bounds how long an interrupted command waits for its lab to be taken away.
const downTimeout = 30 * time.Second

type upFlags struct {
	detach, noTests bool
	adopt           bool
	driver          string
	records         string
}

func (a *app) upCommand() *cobra.Command {
	var o upFlags
	cmd := &cobra.Command{
		Use:   "up FILE",
		Short: "Bring a lab up, run its tests, and keep it until Ctrl-C",
		Long: `Bring a lab up: start its instances, run its tests with real packets, print the
flow-log records they caused, and stay until Ctrl-C, which takes the lab away again.
With --detach the agent stays in the background until vpclab down.

An agent that runs already in the data directory is used, else one is started.
Ctrl-C once the lab runs is the way to end it: the exit code is then that of its
tests (0, 1 if one failed, 3 for warnings).`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeFiles,
		RunE: func(cmd *cobra.Command, args []string) error { return a.up(cmd.Context(), args[0], &o) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.detach, "detach", false, "leave the agent running in the background")
	f.BoolVar(&o.noTests, "no-tests", false, "do not run the lab's tests")
	f.StringVar(&o.records, "records", "table", "how to print the tests' flow-log records: table, aws or none")
	adoptFlag(cmd, &o.adopt)
	driverFlag(cmd, &o.driver)
	cmd.RegisterFlagCompletionFunc("records", cobra.FixedCompletions([]string{"table", "aws", "none"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *upFlags) check(output string) error {
	if output == string(render.CSV) {
		return usage("-o: up prints several lists, which have no csv form together; use table, json or yaml")
	}
	switch o.records {
	case "table", "aws", "none":
		return knownDriver(o.driver)
	}
	return usage("--records: %q is none of table, aws and none", o.records)
}

func (a *app) up(ctx context.Context, path string, o *upFlags) error {
	if err := o.check(a.output); err != nil {
		return err
	}
	file, err := a.readFile(path)
	if err != nil {
		return err
	}
	if _, err := a.valid(file); err != nil {
		return err
	}
	start := a.session
	if o.detach {
		start = a.background
	}
	s, err := start(ctx, o.driver)
	if err != nil {
		return err
	}
	lab, result := a.bringUp(ctx, s, file, o)
	switch {
	case lab == "" && o.detach && s.own: // nobody would know of the agent
		return either(result, a.takeDown(ctx, s, ""))
	case lab == "":
		return either(result, s.stop())
	case !told(result): // by staying on, nobody would learn of it
		return either(result, a.leave(ctx, s, lab))
	case o.detach:
		a.say("running in the background; `vpclab down` ends it")
		return result
	}
	return either(a.stay(ctx, s, lab), result)
}

// either gives the first error of the two.
func either(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// told says whether a result is only the tests' exit code, which has been printed.
func told(result error) bool {
	var own *exitError
	return result == nil || errors.As(result, &own) && own.err == nil
}

// bringUp applies the file, tests it and prints the report. lab is "" if it did not come up; result is then why, else
// what the tests came to.
func (a *app) bringUp(ctx context.Context, s *session, file agent.File, o *upFlags) (lab string, result error) {
	res, err := s.client.Apply(ctx, &agent.ApplyRequest{File: file, Driver: o.driver, Adopt: o.adopt}, a.progress)
	if err != nil {
		return "", err
	}
	report := &render.UpReport{Lab: res, Lines: o.records == "aws"}
	if !o.noTests && res.Tests > 0 {
		report.Results, report.Summary, err = a.runTests(ctx, s.client, &agent.TestRequest{File: file})
		if err != nil {
			return res.Lab, err
		}
		result = exit(testCode(report.Summary))
		if report.Flows, err = a.caused(ctx, s.client, report.Summary, o.records); err != nil {
			return res.Lab, err
		}
	}
	if err := a.printer().Up(report); err != nil {
		return res.Lab, err
	}
	return res.Lab, result
}

// caused gives the records that a test run caused, with AWS's lines if they are wanted.
func (a *app) caused(ctx context.Context, c *agent.Client, s *agent.TestSummary, form string) (rows []agent.FlowRow, err error) {
	r := &agent.FlowsRequest{Lab: s.Lab, Since: s.Since}
	switch form {
	case "none":
		return nil, nil
	case "aws":
		r.Format = agent.DefaultFormat
	}
	err = c.Flows(ctx, r, func(e *agent.FlowEvent) error {
		if e.Flow != nil {
			rows = append(rows, *e.Flow)
		}
		return nil
	})
	return rows, err
}

// stay waits until the person has had enough or the agent ends, and takes the lab away.
func (a *app) stay(ctx context.Context, s *session, lab string) error {
	ctx, cancel := whileRead(ctx, a.out)
	defer cancel()
	if ctx.Err() == nil {
		a.say("running; Ctrl-C to stop")
	}
	if s.own {
		select {
		case <-ctx.Done():
			a.say("stopping")
		case <-s.ended:
			a.say("the agent has ended")
		}
		return s.stop()
	}
	if what := a.taken(ctx, s.client, lab); what != "" {
		a.say("%s", what)
		return nil
	}
	a.say("taking lab %s down; the agent, which was running before, goes on", lab)
	return a.takeDown(ctx, s, lab)
}

// lookEvery is how often `up` looks whether its lab is still there, of an agent that is not its own.
const lookEvery = 300 * time.Millisecond

// taken waits until somebody else has taken the lab or the agent away, and says which; "" if ctx ended before.
func (a *app) taken(ctx context.Context, c *agent.Client, lab string) string {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ""
		case <-tick.C:
		}
		st, err := c.Status(ctx)
		var failed *agent.Error
		switch {
		case err == nil && !slices.ContainsFunc(st.Labs, func(l agent.LabRow) bool { return l.Name == lab }):
			return "lab " + lab + " has been taken down"
		case errors.As(err, &failed) && (failed.Code == agent.CodeUnreachable || failed.Code == agent.CodeBroken):
			return "the agent has ended"
		}
	}
}

// leave takes away what up has made: its own agent, or its lab.
func (a *app) leave(ctx context.Context, s *session, lab string) error {
	if s.own && s.ended != nil {
		return s.stop()
	}
	return a.takeDown(ctx, s, lab)
}

// takeDown takes a lab away although ctx may have ended.
func (a *app) takeDown(ctx context.Context, s *session, lab string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
	defer cancel()
	_, err := s.client.Down(ctx, &agent.DownRequest{Lab: lab}, a.progress)
	var failed *agent.Error
	if errors.As(err, &failed) && failed.Code == agent.CodeUnknownObject {
		return nil // somebody was faster
	}
	return err
}
