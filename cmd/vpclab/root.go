package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/internal/render"
)

// app is one run of the program and all that it touches of its surroundings.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	uid      int
	now      func() time.Time
	zone     *time.Location // nil: the machine's
	here     local

	dataDirFlag string
	lab         string
	output      string
	color       string
	started     bool // the command line was understood
}

// formats is the annotation of a command that has forms of output beside render.Formats.
const formats = "formats"

// run executes a command line and gives the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	code := codeOf(err)
	var own *exitError
	switch {
	case err == nil, errors.As(err, &own) && own.err == nil:
	case !a.started:
		code = exitUsage
		render.Error(a.err, err, a.colored(a.err))
		fmt.Fprintln(a.err, "  vpclab help says what there is")
	case code == exitInterrupted, code == exitUnread:
	default:
		render.Error(a.err, err, a.colored(a.err))
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "vpclab",
		Short: "A virtual private cloud on your own machine",
		Long: `vpclab runs a virtual private cloud on your own machine: instances with security
groups, connection tracking and VPC Flow Logs, as in AWS, for real packets.

Begin with: vpclab up FILE

` + exitHelp,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.check,
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	f := root.PersistentFlags()
	f.StringVar(&a.dataDirFlag, "data-dir", "", "the agent's directory (default $XDG_STATE_HOME/vpclab or ~/.local/state/vpclab; for root /var/lib/vpclab)")
	f.StringVarP(&a.output, "output", "o", string(render.Table), "form of output: table, json, yaml or csv")
	f.StringVar(&a.color, "color", "auto", "colours: auto (on a terminal, unless NO_COLOR is set), always or never")
	root.AddGroup(&cobra.Group{ID: "lab", Title: "Labs:"}, &cobra.Group{ID: "ask", Title: "Ask and try:"}, &cobra.Group{ID: "see", Title: "Look:"})
	add(root, "lab", a.upCommand(), a.downCommand(), a.applyCommand(), a.validateCommand(), a.testCommand())
	add(root, "lab", a.powerCommands()...)
	add(root, "lab", a.attachCommand(), a.detachCommand())
	add(root, "ask", a.execCommand(), a.consoleCommand(), a.probeCommand(), a.explainCommand(), a.ruleCommand("authorize"), a.ruleCommand("revoke"))
	add(root, "see", a.statusCommand(), a.showCommand(), a.flowsCommand(), a.conntrackCommand(), a.flowlogsCommand())
	root.AddCommand(a.doctorCommand(), a.versionCommand(), a.agentCommand())
	root.RegisterFlagCompletionFunc("output", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		names := strings.Fields(cmd.Annotations[formats])
		for _, f := range render.Formats() {
			names = append(names, string(f))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	return root
}

func add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// check is called before every command, when its arguments have been understood.
func (a *app) check(cmd *cobra.Command, _ []string) error {
	more := strings.Fields(cmd.Annotations[formats])
	if !render.Known(render.Format(a.output), more...) {
		return usage("-o: %w", render.UnknownFormat(a.output, more...))
	}
	switch a.color {
	case "auto", "always", "never":
	default:
		return usage("--color: %q is none of auto, always and never", a.color)
	}
	a.started = true
	return nil
}

// labFlag adds --lab to a command that takes names of objects.
func (a *app) labFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.lab, "lab", "", "the lab whose names are meant, where several have them")
	cmd.RegisterFlagCompletionFunc("lab", a.completeFlag("lab"))
}

// dataDir gives the data directory, absolute.
func (a *app) dataDir() (string, error) {
	dir := a.dataDirFlag
	if dir == "" {
		dir = defaultDataDir(a.uid, a.getenv)
	}
	if dir == "" {
		return "", usage("there is no data directory, since HOME is not set: name one with --data-dir")
	}
	return filepath.Abs(dir)
}

// defaultDataDir is the XDG base directory for state; root's is the system's.
func defaultDataDir(uid int, getenv func(string) string) string {
	if uid == 0 {
		return agent.RootDataDir
	}
	if state := getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "vpclab")
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "state", "vpclab")
	}
	return ""
}

func (a *app) client() (*agent.Client, error) {
	dir, err := a.dataDir()
	if err != nil {
		return nil, err
	}
	return agent.NewClient(dir), nil
}

func (a *app) colored(w io.Writer) bool {
	switch a.color {
	case "always":
		return true
	case "never":
		return false
	}
	return render.UseColor(w, a.getenv)
}

func (a *app) printer() *render.Printer {
	return &render.Printer{W: a.out, Format: render.Format(a.output), Color: a.colored(a.out), Zone: a.zone, Now: a.now()}
}

// say prints a line of progress.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }

func (a *app) progress(p *agent.Progress) { render.Progress(a.err, p, a.colored(a.err)) }
