package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpclab/vpclab/api/agent"
)

const targetHelp = `TO is an instance or an address, with a port and a protocol:
  app-1:8080, app-1:53/udp, 10.0.2.10:8080, [2001:db8::5]:443
  app-1 or app-1/icmp (an echo request), app-1/47 (a protocol by number)
Where several labs have the name, LAB/NAME: shop/app-1:8080. A name is looked for in
the sender's lab first.`

func (a *app) probeCommand() *cobra.Command {
	var n int
	var timeout time.Duration
	var code bool
	cmd := &cobra.Command{
		Use:   "probe FROM TO[:PORT[/PROTO]]",
		Short: "Send real packets and say what comes of them",
		Long:  "Send real packets from an instance and say what comes of them: answered, refused\nby the host, rejected by a rule, dropped, or lost; how long it took, and why.\n\n" + targetHelp,
		Args:  cobra.ExactArgs(2), ValidArgsFunction: a.completePair,
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := target(args[1])
			if err != nil {
				return err
			}
			if n < 1 || timeout < 0 {
				return usage("--count must be 1 or more, and --timeout must not be negative")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			res, err := c.Probe(cmd.Context(), &agent.ProbeRequest{Lab: a.lab, From: args[0], To: to, Count: n, Timeout: agent.SecondsOf(timeout)})
			if err != nil {
				return err
			}
			return either(a.printer().Probe(res), verdictCode(code, res.Verdict))
		},
	}
	cmd.Flags().IntVarP(&n, "count", "c", 1, "how many packets or connections")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait for each answer (default: the agent's)")
	exitCodeFlag(cmd, &code)
	a.labFlag(cmd)
	return cmd
}

func (a *app) explainCommand() *cobra.Command {
	var code bool
	var port int
	cmd := &cobra.Command{
		Use:   "explain FROM TO[:PORT[/PROTO]]",
		Short: "Say what would happen to a packet, and why; sends nothing",
		Long: `Say what would happen to a packet: each step, the rule that decides, the nearest
rule where none matches, and the way back. It is the switch itself that answers,
with a trace; nothing is sent, counted or logged.

` + targetHelp,
		Args: cobra.ExactArgs(2), ValidArgsFunction: a.completePair,
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := target(args[1])
			if err != nil {
				return err
			}
			if port < 0 || port > 65535 {
				return usage("--source-port: a port is a number from 1 to 65535")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			e, err := c.Explain(cmd.Context(), &agent.ExplainRequest{Lab: a.lab, From: args[0], To: to, SourcePort: port})
			if err != nil {
				return err
			}
			return either(a.printer().Explanation(e), verdictCode(code, e.Verdict))
		},
	}
	cmd.Flags().IntVar(&port, "source-port", 0, "the packet's source port (default: an ephemeral one)")
	exitCodeFlag(cmd, &code)
	a.labFlag(cmd)
	return cmd
}

func target(s string) (agent.Target, error) {
	t, err := agent.ParseTarget(s)
	if err != nil {
		return t, &exitError{code: exitUsage, err: err}
	}
	return t, nil
}

func exitCodeFlag(cmd *cobra.Command, code *bool) {
	cmd.Flags().BoolVar(code, "exit-code", false, "exit with 1 if the verdict is not ACCEPT")
}

func verdictCode(wanted bool, verdict string) error {
	if wanted && verdict != agent.Accept {
		return exit(exitFailed)
	}
	return nil
}

// ruleCommand is authorize or revoke.
func (a *app) ruleCommand(verb string) *cobra.Command {
	help := map[string][3]string{
		"authorize": {"Add a rule to a security group, live", "The rule holds for every packet sent after the command has returned.", "added"},
		"revoke":    {"Remove a rule from a security group, live", "RULE may also be its id (sgr-...). Connections that the rule admitted and that are\ntracked live on, as in AWS.", "removed"},
	}[verb]
	var direction string
	cmd := &cobra.Command{
		Use: verb + " GROUP RULE...", Short: help[0],
		Long: help[0] + ". " + help[1] + `

A rule is written as in a lab file: TYPE [PORTS] from|to PEER:
  vpclab ` + verb + ` app tcp 8080 from web
  vpclab ` + verb + ` web http from anywhere
  vpclab ` + verb + ` db all to 10.0.0.0/8`,
		Args: cobra.MinimumNArgs(2), ValidArgsFunction: a.completeFirst("security-group"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch direction {
			case "", agent.Ingress, agent.Egress:
			default:
				return usage("--direction: %q is neither ingress nor egress", direction)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			call := map[string]func(context.Context, *agent.RuleRequest) (*agent.RuleResult, error){"authorize": c.Authorize, "revoke": c.Revoke}[verb]
			res, err := call(cmd.Context(), &agent.RuleRequest{Lab: a.lab, Group: args[0], Direction: direction, Rule: strings.Join(args[1:], " ")})
			if err != nil {
				return err
			}
			return a.printer().Rules(help[2], res)
		},
	}
	cmd.Flags().StringVar(&direction, "direction", "", "ingress or egress, where the rule does not say from or to")
	a.labFlag(cmd)
	return cmd
}

func (a *app) execCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec INSTANCE -- CMD [ARG...]",
		Short: "Run a program on an instance",
		Long: `Run a program on an instance: on a netns instance any program of this machine, on
a netstack instance one of the built-in ping, nc, curl and dig. Ends with the
program's exit code. Where namespaces are made without root the agent's helper starts
the program and gives it this command's standard input, output and error; a terminal is
then a new one, with job control, that is copied to this one.`,
		Args: cobra.MinimumNArgs(2), ValidArgsFunction: a.completeFirst("instance"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] == "--" {
				args = append(args[:1:1], args[2:]...)
			}
			if len(args) < 2 {
				return usage("exec needs a program: vpclab exec %s -- ping -c 1 10.0.1.1", args[0])
			}
			return a.exec(cmd.Context(), &agent.ExecRequest{Lab: a.lab, Instance: args[0], Argv: args[1:]})
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows INSTANCE is the program's
	a.labFlag(cmd)
	return cmd
}

func (a *app) exec(ctx context.Context, r *agent.ExecRequest) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	t, err := c.ExecTarget(ctx, r)
	if err != nil {
		return err
	}
	streams := agent.Streams{Stdin: a.in, Stdout: a.out, Stderr: a.err}
	var code int
	if t.Files {
		code, err = a.execHost(ctx, c, r, streams)
	} else if t.InAgent {
		code, err = c.Exec(ctx, r, streams)
	} else {
		code, err = a.here.Join(ctx, t, r.Argv, streams)
	}
	if err != nil {
		return err
	}
	return exit(code)
}
