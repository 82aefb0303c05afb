package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// cliPage is the page of all commands. What stands above the mark is written by hand, the rest by this test.
const (
	cliPage = "../../docs/cli.md"
	cliMark = "<!-- What follows is written by: go test ./cmd/vpclab -run TestCLIPage -update -->\n"
)

// note is what the page says of a command beside its help.
type note struct {
	prints string // what its standard output has; "" for nothing of its own
	exits  string // its exit codes
	golden string // the output of a golden test, as an example
}

const (
	refusable = "0; 1 if the agent refuses; 2 for a name or a command line that cannot be used; 4 if no agent can be reached"
	verdicts  = "0; with `--exit-code` 1 if the verdict is not ACCEPT; 1 if the agent refuses; 2 for a name or a command line that cannot be used; 4 if no agent can be reached"
	tested    = "0 if all tests passed; 1 if one failed or the lab did not come up; 2 for a file or a command line that cannot be used; 3 if there are only warnings; 130 if interrupted before the lab was up"
)

// notes has every command that people are shown.
var notes = map[string]note{
	"up":             {"the instances, then the tests, then the flow-log records that they caused", tested, ""},
	"down":           {"what was taken away", "0, also where nothing was up; 1 if something cannot be taken away; 2 for a lab that is not up; 4 if the agent is there and does not answer", "down-lab"},
	"apply":          {"one line for each change, and the instances", refusable, "apply"},
	"validate":       {"what the file has; on standard error all that is wrong with it, each with its line", "0 if it is valid; 1 if not; 2 if it cannot be read; 3 if there are only warnings", "validate"},
	"test":           {"one line for each test, what was expected below those that failed, and a summary", tested + ", or while tests ran", "test"},
	"exec":           {"the program's own output", "the program's; 126 if it cannot be run and 127 if it is not there, as in a shell; 4 if no agent can be reached", ""},
	"probe":          {"what came of each packet, the rule that decided, and the flow-log records", verdicts, "probe-reject"},
	"explain":        {"one line for each step, and the way back", verdicts, "explain"},
	"authorize":      {"the rules that were added, with their ids", refusable, "authorize"},
	"revoke":         {"the rules that were removed, and the connections that live on", refusable, "revoke"},
	"attach":         {"the interface that was made, with the address that the program has to use", refusable, ""},
	"detach":         {"what was taken out", refusable, ""},
	"console":        {"what the machine prints", refusable, ""},
	"start":          {"the instance", refusable, ""},
	"stop":           {"the instance", refusable, ""},
	"restart":        {"the instance", refusable, ""},
	"status":         {"the agent, its labs, what was dropped, and the instances", refusable, "status"},
	"show":           {"one object", refusable + ". It has no csv form", "show-group"},
	"flows":          {"one line a record; with `-o aws` the lines of a flow-log file", refusable + "; 130 when Ctrl-C ends `-f`", "flows"},
	"conntrack":      {"one line for each half of a flow", refusable, "conntrack"},
	"conntrack list": {"the same as `conntrack`", refusable, ""},
	"flowlogs":       {"", "2: it needs `list` or `read`", ""},
	"flowlogs list":  {"one line a file", refusable, "flowlogs-list"},
	"flowlogs read":  {"the lines of the files as they stand, a header for each file", refusable, "flowlogs-read"},
	"doctor":         {"the drivers, what was looked at, and below each lack its fix", "0 if every driver works and nothing is lacking; 3 if not; 2 if there is no data directory", "doctor-lacks"},
	"version":        {"one line", "0", ""},
}

// TestCLIPage holds docs/cli.md to the commands.
func TestCLIPage(t *testing.T) {
	raw, err := os.ReadFile(cliPage)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(raw), cliMark)
	if !ok {
		t.Fatalf("%s has no line %s", cliPage, cliMark)
	}
	want := head + cliMark + commandPage(t)
	if *update {
		if err := os.WriteFile(cliPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(raw) {
		t.Errorf("%s is not as the commands are; this writes it anew: go test ./cmd/vpclab -run TestCLIPage -update", cliPage)
	}
	for _, code := range []string{"0", "1", "2", "3", "4", "130", "141"} {
		if !strings.Contains(head, "\n| "+code+" |") || !strings.Contains(exitHelp, "\n  "+code+" ") {
			t.Errorf("exit code %s is not in the head of %s, or not in the help", code, cliPage)
		}
	}
}

// commandPage describes all commands, in the order of the help.
func commandPage(t *testing.T) string {
	r := newRig(t)
	a := &app{out: &r.out, err: &r.err, getenv: func(string) string { return "" }, here: r.host}
	root := a.root()
	var b strings.Builder
	said := map[string]bool{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
				continue
			}
			name := strings.TrimPrefix(sub.CommandPath(), "vpclab ")
			n, ok := notes[name]
			if !ok {
				t.Errorf("say in notes what `vpclab %s` prints and how it exits", name)
			}
			said[name] = true
			command(t, &b, sub, name, n)
			walk(sub)
		}
	}
	walk(root)
	for name := range notes {
		if !said[name] {
			t.Errorf("notes has %q, which is no command", name)
		}
	}
	return b.String()
}

func command(t *testing.T, b *strings.Builder, c *cobra.Command, name string, n note) {
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	fmt.Fprintf(b, "\n## vpclab %s\n\n```\n%s\n```\n\n%s\n", name, strings.TrimSuffix(c.UseLine(), " [flags]"), paragraphs(long))
	flags := flagTable(c)
	if flags != "" {
		fmt.Fprintf(b, "\n| flag | |\n|---|---|\n%s", flags)
	}
	if n.prints != "" {
		fmt.Fprintf(b, "\nPrints: %s.\n", n.prints)
	}
	fmt.Fprintf(b, "\nExit codes: %s.\n", n.exits)
	if n.golden != "" {
		fmt.Fprintf(b, "\n```\n%s```\n", goldenOutput(t, n.golden))
	}
}

// paragraphs makes what is aligned in a help text (indented lines) a block, so that it stays so.
func paragraphs(s string) string {
	var out []string
	block := false
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\n")
		if inner := strings.HasPrefix(line, "  "); inner != block {
			out = append(out, "```")
			block = inner
			if inner { // an empty line before the fence
				out = append(out[:len(out)-1], "", "```")
			}
		}
		out = append(out, line)
	}
	if block {
		out = append(out, "```")
	}
	return strings.Join(out, "\n")
}

func flagTable(c *cobra.Command) string {
	var b strings.Builder
	row := func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		word, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if word != "" {
			name += " " + strings.ToUpper(word)
		}
		if d := f.DefValue; d != "" && d != "false" && d != "0" && d != "0s" && !strings.Contains(usage, "default") {
			usage += " (default " + d + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, strings.ReplaceAll(usage, "|", "\\|"))
	}
	c.LocalNonPersistentFlags().VisitAll(row)
	if c.HasParent() && c.Parent().HasParent() { // flags of the group, such as flowlogs
		c.Parent().PersistentFlags().VisitAll(row)
	} else {
		c.PersistentFlags().VisitAll(row)
	}
	return b.String()
}

// goldenOutput is the standard output that a golden test holds.
func goldenOutput(t *testing.T, name string) string {
	raw, err := os.ReadFile(filepath.Join("testdata", name+".table"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(raw), "--- stdout\n")
	text, _, _ = strings.Cut(text, "--- stderr\n")
	return text
}
