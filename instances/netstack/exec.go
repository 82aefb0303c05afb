package netstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/vpclab/vpclab/instances"
)

// program is one built-in program. It returns its exit code.
type program func(ctx context.Context, sh *shell, args []string) int

var programs = map[string]program{"ping": ping, "nc": nc, "curl": curl, "dig": dig}

func programNames() []string { return slices.Sorted(maps.Keys(programs)) }

// shell is what a program works with: the instance's network and names, and its input and output.
// stdout and stderr may be written by several goroutines.
type shell struct {
	name   string // of the program, before messages
	in     *instance
	net    *network
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// errorf writes a message as programs do: with their name in front.
func (sh *shell) errorf(format string, args ...any) {
	fmt.Fprintf(sh.stderr, sh.name+": "+format+"\n", args...)
}

// Exec implements instances.Instance with the built-in programs.
func (in *instance) Exec(ctx context.Context, argv []string, stdio instances.IO) (int, error) {
	if len(argv) == 0 {
		return 0, errors.New("no program given")
	}
	done, err := in.begin()
	if err != nil {
		return 0, err
	}
	defer done()
	sh := &shell{name: argv[0], in: in, net: in.net, stdin: stdio.Stdin, stdout: locked(stdio.Stdout), stderr: locked(stdio.Stderr)}
	if sh.stdin == nil {
		sh.stdin = bytes.NewReader(nil)
	}
	run, ok := programs[argv[0]]
	if !ok {
		sh.name = cmpOr(in.spec.Name, in.spec.ID)
		sh.errorf("%s: program not found; a netstack instance has %s; netns instances run any program of the host",
			argv[0], strings.Join(programNames(), ", "))
		return 127, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(in.ctx, cancel)()
	code := run(ctx, sh, argv[1:])
	return code, ctx.Err()
}

// lockedWriter lets goroutines share a writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func locked(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return &lockedWriter{w: w}
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// options are a program's parsed arguments.
type options struct {
	flags    map[string][]string // by short name; flags without a value have "" once for each time
	operands []string
}

func (o options) has(flag string) bool { return len(o.flags[flag]) > 0 }

// get is the last value of a flag, or def.
func (o options) get(flag, def string) string {
	if v := o.flags[flag]; len(v) > 0 {
		return v[len(v)-1]
	}
	return def
}

// parse reads arguments as getopt_long does: short flags can be joined ("-zv", "-w1"), flags may follow
// operands, "--" ends them. valued and plain are the short flags with and without a value; long gives
// long names their short ones.
func parse(args []string, valued, plain string, long map[string]string) (options, error) {
	o := options{flags: map[string][]string{}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			o.operands = append(o.operands, args...)
			return o, nil
		case strings.HasPrefix(arg, "--"):
			name, value, has := strings.Cut(arg[2:], "=")
			short, ok := long[name]
			if !ok {
				return o, fmt.Errorf("unknown option --%s", name)
			}
			if strings.Contains(valued, short) && !has {
				if len(args) == 0 {
					return o, fmt.Errorf("option --%s needs a value", name)
				}
				value, args = args[0], args[1:]
			}
			o.flags[short] = append(o.flags[short], value)
		case len(arg) > 1 && arg[0] == '-':
			rest, err := o.short(arg[1:], args, valued, plain)
			if err != nil {
				return o, err
			}
			args = rest
		default:
			o.operands = append(o.operands, arg)
		}
	}
	return o, nil
}

// short reads joined short flags; it returns the arguments after the value it may have taken.
func (o options) short(joined string, args []string, valued, plain string) ([]string, error) {
	for i := range len(joined) {
		flag := joined[i : i+1]
		switch {
		case strings.Contains(plain, flag):
			o.flags[flag] = append(o.flags[flag], "")
		case !strings.Contains(valued, flag):
			return nil, fmt.Errorf("unknown option -%s", flag)
		case i+1 < len(joined):
			o.flags[flag] = append(o.flags[flag], joined[i+1:])
			return args, nil
		case len(args) == 0:
			return nil, fmt.Errorf("option -%s needs a value", flag)
		default:
			o.flags[flag] = append(o.flags[flag], args[0])
			return args[1:], nil
		}
	}
	return args, nil
}

// family keeps the addresses that -4 or -6 asks for; without them IPv4 goes first only if it came first.
func family(addrs []netip.Addr, o options) []netip.Addr {
	return slices.DeleteFunc(addrs, func(a netip.Addr) bool {
		return o.has("4") && !a.Is4() || o.has("6") && a.Is4()
	})
}
