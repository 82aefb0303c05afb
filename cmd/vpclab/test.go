package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/internal/render"
)

// junit is a form of output that only tests have.
const junit = "junit"

func (a *app) testCommand() *cobra.Command {
	var tests, driver string
	cmd := &cobra.Command{
		Use:   "test FILE",
		Short: "Run a lab's tests with real packets",
		Long: `Run a lab's tests with real packets: the verdict, what decided, and the flow-log
records. Rules that a test changes are put back after it.

A lab that is not up is brought up for its tests and taken away again; an agent
that runs in the data directory is used, else one is started for so long.

Exits with 0 if all passed, 1 if one failed, 2 if there is nothing to test, 3 if
there are only warnings.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeFiles, Annotations: map[string]string{formats: junit},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := knownDriver(driver); err != nil {
				return err
			}
			r := &agent.TestRequest{JUnit: a.output == junit}
			var err error
			if r.File, err = a.readFile(args[0]); err != nil {
				return err
			}
			if tests != "" {
				file, err := a.readFile(tests)
				if err != nil {
					return err
				}
				r.Tests = &file
			}
			return a.test(cmd.Context(), r, driver)
		},
	}
	cmd.Flags().StringVar(&tests, "tests", "", "a file with the tests to run instead of the lab's own")
	driverFlag(cmd, &driver)
	return cmd
}

func (a *app) test(ctx context.Context, r *agent.TestRequest, driver string) error {
	v, err := a.valid(r.File)
	if err != nil {
		return err
	}
	if v.Tests == 0 && r.Tests == nil {
		return &agent.Error{Code: agent.CodeNoTests, Where: r.File.Name, Message: "lab " + v.Lab + " has no tests",
			Fix: "add a list `tests:` to it, or name a file with --tests"}
	}
	s, err := a.session(ctx, driver)
	if err != nil {
		return err
	}
	borrowed, err := a.provide(ctx, s, v.Lab, r.File, driver)
	if err == nil {
		err = a.report(ctx, s.client, r)
	}
	if borrowed && !s.own {
		err = either(err, a.takeDown(ctx, s, v.Lab))
	}
	if stopped := s.stop(); stopped != nil {
		return stopped
	}
	return err
}

// provide brings the lab up if it is not, and says whether it did.
func (a *app) provide(ctx context.Context, s *session, lab string, file agent.File, driver string) (bool, error) {
	st, err := s.client.Status(ctx)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(st.Labs, func(l agent.LabRow) bool { return l.Name == lab }) {
		return false, nil
	}
	_, err = s.client.Apply(ctx, &agent.ApplyRequest{File: file, Driver: driver}, a.progress)
	return true, err
}

// report runs the tests and prints what came of them, also of a run that was broken off.
func (a *app) report(ctx context.Context, c *agent.Client, r *agent.TestRequest) error {
	results, sum, err := a.runTests(ctx, c, r)
	switch {
	case err != nil && len(results) == 0:
		return err
	case a.output == junit && sum != nil:
		if _, err := io.WriteString(a.out, sum.JUnit); err != nil {
			return err
		}
	case a.output != junit:
		if err := a.printer().Tests(results, sum); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return exit(testCode(sum))
}

// runTests collects the results, since their columns are as wide as the widest. On a terminal it says meanwhile where it is.
func (a *app) runTests(ctx context.Context, c *agent.Client, r *agent.TestRequest) ([]agent.TestResult, *agent.TestSummary, error) {
	var results []agent.TestResult
	live := render.IsTerminal(a.err)
	clear := func() {
		if live {
			fmt.Fprint(a.err, "\r\x1b[K")
		}
	}
	sum, err := c.Test(ctx, r, func(t *agent.TestResult) error {
		results = append(results, *t)
		clear()
		if live {
			fmt.Fprintf(a.err, "%d tested", len(results))
		}
		return nil
	})
	clear()
	return results, sum, err
}

// testCode gives a run's exit code.
func testCode(s *agent.TestSummary) int {
	switch {
	case s.Failed > 0:
		return exitFailed
	case s.Total == 0:
		return exitUsage
	case s.Warnings > 0:
		return exitWarnings
	}
	return exitOK
}
