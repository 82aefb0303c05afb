package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/internal/render"
)

// aws is a form of output that only flow records have.
const aws = "aws"

type flowFlags struct {
	agent.FlowsRequest
	since          string
	reject, accept bool
	header         bool
}

func (a *app) flowsCommand() *cobra.Command {
	var o flowFlags
	cmd := &cobra.Command{
		Use:   "flows",
		Short: "Flow-log records, live and recent, with names and rules",
		Long: `Flow-log records, those of the window that is still open included, with the names
of both ends and the rule that decided. -o aws prints the exact lines that a flow
log has, by default in AWS's default format.

With -f new records follow until Ctrl-C; one that is printed while its window is
open is printed again when it is complete. -o json is then JSON lines.`,
		Args: cobra.NoArgs, Annotations: map[string]string{formats: aws},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.flows(cmd.Context(), &o) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on with new records until Ctrl-C")
	f.IntVar(&o.Last, "last", 0, "only the newest N records")
	f.StringVar(&o.since, "since", "", "only records since a time (14:03, 2026-01-31T14:03:00Z) or for so long (5m)")
	f.BoolVar(&o.reject, "reject", false, "only REJECT")
	f.BoolVar(&o.accept, "accept", false, "only ACCEPT")
	f.StringVar(&o.Instance, "at", "", "only records made at this instance")
	f.StringVar(&o.Address, "addr", "", "only records with this address, CIDR or instance at either end")
	f.IntVar(&o.Port, "port", 0, "only records with this port at either end")
	f.StringVar(&o.Protocol, "proto", "", "only records of this protocol: tcp, udp, icmp or a number")
	f.StringVar(&o.Dir, "direction", "", "only ingress or only egress")
	f.BoolVar(&o.Sealed, "sealed", false, "leave out the open window; with NODATA and SKIPDATA")
	f.StringVar(&o.Format, "format", agent.DefaultFormat, "with -o aws, the lines' format: '${version} ${account-id} ...'")
	f.BoolVar(&o.header, "header", false, "with -o aws, the header line first, as in a file")
	cmd.RegisterFlagCompletionFunc("at", a.completeFlag("instance"))
	cmd.RegisterFlagCompletionFunc("addr", a.completeFlag("instance"))
	a.labFlag(cmd)
	return cmd
}

// request checks the flags and gives what they ask for.
func (o *flowFlags) request(a *app) (*agent.FlowsRequest, error) {
	r := o.FlowsRequest
	r.Lab = a.lab
	var err error
	if r.Since, err = a.since(o.since); err != nil {
		return nil, err
	}
	switch {
	case o.reject && !o.accept:
		r.Action = agent.Reject
	case o.accept && !o.reject:
		r.Action = agent.Accept
	}
	switch {
	case r.Last < 0:
		return nil, usage("--last must not be negative")
	case r.Port < 0 || r.Port > 65535:
		return nil, usage("--port: a port is a number from 1 to 65535")
	case r.Dir != "" && r.Dir != agent.Ingress && r.Dir != agent.Egress:
		return nil, usage("--direction: %q is neither ingress nor egress", r.Dir)
	}
	if a.output != aws {
		if r.Format != agent.DefaultFormat || o.header {
			return nil, usage("--format and --header go with -o aws")
		}
		r.Format = ""
	}
	return &r, nil
}

func (a *app) flows(ctx context.Context, o *flowFlags) error {
	r, err := o.request(a)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	var rows []agent.FlowRow
	take := func(f *agent.FlowRow) error { rows = append(rows, *f); return nil }
	p := a.printer()
	if r.Follow {
		if s, err := c.Status(ctx); err == nil && r.Lab == "" {
			p.Labs = len(s.Labs) > 1
		}
		take = p.FollowFlows().Add
		var cancel context.CancelFunc
		ctx, cancel = whileRead(ctx, a.out)
		defer cancel()
	}
	if a.output == aws {
		take = func(f *agent.FlowRow) error { _, err := fmt.Fprintln(a.out, f.Line); return err }
	}
	err = c.Flows(ctx, r, func(e *agent.FlowEvent) error {
		switch {
		case e.Flow != nil:
			return take(e.Flow)
		case e.Header != "" && o.header:
			_, err := fmt.Fprintln(a.out, e.Header)
			return err
		case e.Lost > 0:
			a.say("%d records were lost: this follower is too slow", e.Lost)
		}
		return nil
	})
	if err != nil || r.Follow || a.output == aws {
		return err
	}
	return p.Flows(rows)
}

// since reads a time, or a length of time before now.
func (a *app) since(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return a.now().Add(-d), nil
	}
	zone := a.zone
	if zone == nil {
		zone = time.Local
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			y, m, d := a.now().In(zone).Date()
			return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone), nil
		}
	}
	return time.Time{}, usage("--since: %q is neither a length of time (5m, 1h30m) nor a time (14:03, 2026-01-31T14:03:00Z)", s)
}

func (a *app) conntrackCommand() *cobra.Command {
	r := new(agent.ConntrackRequest)
	run := func(cmd *cobra.Command, _ []string) error {
		if r.Port < 0 || r.Port > 65535 || r.Last < 0 {
			return usage("--port is a number from 1 to 65535, and --last must not be negative")
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		r.Lab = a.lab
		rows, err := c.Conntrack(cmd.Context(), r)
		if err != nil {
			return err
		}
		return a.printer().Conntrack(rows)
	}
	cmd := &cobra.Command{
		Use:   "conntrack",
		Short: "Connections that are open now: tracked or not, and how long they last",
		Long: `The flow table. Each network interface knows of a flow by itself, so a flow between
two instances stands there twice; the arrow shows who opened it.`,
		Args: cobra.NoArgs, RunE: run,
	}
	list := &cobra.Command{Use: "list", Short: "The same", Args: cobra.NoArgs, RunE: run}
	f := cmd.PersistentFlags()
	f.StringVar(&r.Instance, "at", "", "only halves of this instance")
	f.StringVar(&r.Address, "addr", "", "only flows with this address, CIDR or instance at either end")
	f.IntVar(&r.Port, "port", 0, "only flows with this port at either end")
	f.StringVar(&r.Protocol, "proto", "", "only flows of this protocol: tcp, udp, icmp or a number")
	f.BoolVar(&r.Rejected, "rejected", false, "also the cached rejects")
	f.IntVar(&r.Last, "last", 0, "only the N seen most lately")
	f.StringVar(&a.lab, "lab", "", "the lab whose names are meant, where several have them")
	cmd.RegisterFlagCompletionFunc("at", a.completeFlag("instance"))
	cmd.RegisterFlagCompletionFunc("lab", a.completeFlag("lab"))
	cmd.AddCommand(list)
	return cmd
}

func (a *app) flowlogsCommand() *cobra.Command {
	r := new(agent.FlowLogsRequest)
	var since string
	cmd := &cobra.Command{Use: "flowlogs", Short: "Flow-log files: list, read", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return usage("say what to do with the files: vpclab flowlogs list, or vpclab flowlogs read [KEY]")
	}}
	f := cmd.PersistentFlags()
	f.StringVar(&r.FlowLog, "flow-log", "", "only files of this flow log (fl-... or its name)")
	f.StringVar(&since, "since", "", "only files since a time, or for so long (1h)")
	f.IntVar(&r.Last, "last", 0, "only the newest N files")
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "The published files", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.flowLogsRequest(r, since)
			if err != nil {
				return err
			}
			files, err := c.FlowLogFiles(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.printer().FlowLogFiles(files)
		}},
		&cobra.Command{Use: "read [KEY]", Short: "The lines of one file, or of all", Args: cobra.MaximumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.flowLogsRequest(r, since)
			if err != nil {
				return err
			}
			return c.FlowLogRead(cmd.Context(), &agent.FlowLogReadRequest{FlowLogsRequest: *r, Key: strings.Join(args, "")}, a.printer().FollowLogLines().Add)
		}})
	return cmd
}

func (a *app) flowLogsRequest(r *agent.FlowLogsRequest, since string) (c *agent.Client, err error) {
	if r.Last < 0 {
		return nil, usage("--last must not be negative")
	}
	if r.Since, err = a.since(since); err != nil {
		return nil, err
	}
	return a.client()
}

func (a *app) showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show OBJECT",
		Short: "One object whole: a group's rules with their use, an instance, a subnet",
		Long: `One object whole. OBJECT is a name, an id, an address, or KIND/NAME where a name
is not unique: security-group/web. Where several labs have it, LAB/NAME or
KIND/LAB/NAME.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFirst(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.output == string(render.CSV) {
				return usage("-o: %w", render.ErrNoCSV)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			res, err := c.Show(cmd.Context(), &agent.ShowRequest{Lab: a.lab, Object: args[0]})
			if err != nil {
				return err
			}
			return a.printer().Show(res)
		},
	}
	a.labFlag(cmd)
	return cmd
}
