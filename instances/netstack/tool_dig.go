package netstack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Exit codes of dig(1).
const (
	digUsageError = 1
	digNoReply    = 9
)

type digger struct {
	name    string
	qtype   uint16
	server  string
	port    uint16
	network string
	short   bool
	timeout time.Duration
	tries   int
	recurse bool
}

// dig is dig(1) for one question. Like dig it does not read the hosts file. It exits 0 if a server
// answered, whatever the answer, and 9 if none did.
func dig(ctx context.Context, sh *shell, args []string) int {
	d := &digger{qtype: dns.TypeA, port: 53, network: "udp", timeout: 5 * time.Second, tries: 3, recurse: true}
	if err := d.parse(args); err != nil {
		sh.errorf("%v", err)
		return digUsageError
	}
	servers, err := d.servers(ctx, sh)
	if err != nil {
		sh.errorf("%v", err)
		return digUsageError
	}
	msg := new(dns.Msg)
	msg.SetQuestion(dns.Fqdn(d.name), d.qtype)
	msg.RecursionDesired = d.recurse
	for _, server := range servers {
		for range d.tries {
			to := netip.AddrPortFrom(server, d.port)
			reply, took, err := sh.exchange(ctx, d.network, to, msg, d.timeout)
			if err == nil {
				d.print(sh, reply, to, took)
				return 0
			}
			if ctx.Err() != nil {
				return digNoReply
			}
			fmt.Fprintf(sh.stdout, ";; communications error to %s#%d: %s\n", server, d.port, strings.ToLower(complaint(err)))
		}
	}
	why := ""
	if len(servers) == 0 {
		why = " (this instance has no nameserver; name one with @address)"
	}
	fmt.Fprintf(sh.stdout, ";; no servers could be reached%s\n", why)
	return digNoReply
}

// servers are what @ names, or the instance's own.
func (d *digger) servers(ctx context.Context, sh *shell) ([]netip.Addr, error) {
	if d.server == "" {
		return sh.in.spec.Nameservers, nil
	}
	addrs, err := sh.lookup(ctx, d.server, options{})
	if err != nil {
		return nil, fmt.Errorf("couldn't get address for '%s': not found", d.server)
	}
	return addrs[:1], nil
}

func (d *digger) parse(args []string) error {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		value := func() (string, error) {
			if len(args) == 0 {
				return "", fmt.Errorf("option %s needs a value", arg)
			}
			v := args[0]
			args = args[1:]
			return v, nil
		}
		var err error
		switch {
		case strings.HasPrefix(arg, "@"):
			d.server = arg[1:]
		case strings.HasPrefix(arg, "+"):
			err = d.plus(arg[1:])
		case strings.HasPrefix(arg, "-"):
			err = d.dash(arg, value)
		default:
			err = d.operand(arg)
		}
		if err != nil {
			return err
		}
	}
	if d.name == "" {
		return errors.New("usage: dig [@server] [-p port] [-t type] [-x address] [+short] [+tcp] [+time=seconds] [+tries=n] name [type]")
	}
	return nil
}

// operand takes a type that comes alone, a class, or the name.
func (d *digger) operand(arg string) error {
	if t, ok := dns.StringToType[strings.ToUpper(arg)]; ok && d.name != "" {
		d.qtype = t
		return nil
	}
	if _, ok := dns.StringToClass[strings.ToUpper(arg)]; ok && d.name != "" {
		return nil
	}
	if t, ok := dns.StringToType[strings.ToUpper(arg)]; ok && !strings.Contains(arg, ".") {
		d.qtype = t
		return nil
	}
	if d.name != "" {
		return fmt.Errorf("%s: one name at a time", arg)
	}
	if _, ok := dns.IsDomainName(arg); !ok {
		return fmt.Errorf("'%s' is not a legal name", arg)
	}
	d.name = arg
	return nil
}

func (d *digger) plus(arg string) error {
	key, value, _ := strings.Cut(arg, "=")
	n, err := strconv.Atoi(value)
	switch key {
	case "short":
		d.short = true
	case "tcp", "vc":
		d.network = "tcp"
	case "norecurse", "norec":
		d.recurse = false
	case "time", "timeout":
		if err != nil || n < 1 {
			return fmt.Errorf("+time=%s: want seconds, at least 1", value)
		}
		d.timeout = time.Duration(n) * time.Second
	case "tries", "retry":
		if err != nil || n < 0 || key == "tries" && n < 1 {
			return fmt.Errorf("+%s=%s: want a number of attempts", key, value)
		}
		d.tries = n
		if key == "retry" {
			d.tries++
		}
	default:
		return fmt.Errorf("unknown option +%s; this dig has +short +tcp +norecurse +time= +tries= +retry=", key)
	}
	return nil
}

func (d *digger) dash(flag string, value func() (string, error)) error {
	v, err := value()
	if err != nil {
		return err
	}
	switch flag {
	case "-p":
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("-p %s: want a port of 1 to 65535", v)
		}
		d.port = uint16(n)
	case "-t":
		t, ok := dns.StringToType[strings.ToUpper(v)]
		if !ok {
			return fmt.Errorf("-t %s: unknown type", v)
		}
		d.qtype = t
	case "-x":
		name, err := dns.ReverseAddr(v)
		if err != nil {
			return fmt.Errorf("-x %s: want an address", v)
		}
		d.name, d.qtype = name, dns.TypePTR
	default:
		return fmt.Errorf("unknown option %s; this dig has -p -t -x", flag)
	}
	return nil
}

func (d *digger) print(sh *shell, reply *dns.Msg, server netip.AddrPort, took time.Duration) {
	if d.short {
		for _, rr := range reply.Answer {
			fmt.Fprintln(sh.stdout, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		return
	}
	fmt.Fprintf(sh.stdout, "%s\n;; Query time: %d msec\n;; SERVER: %s#%d(%s) (%s)\n;; MSG SIZE  rcvd: %d\n\n", reply,
		took.Milliseconds(), server.Addr(), server.Port(), server.Addr(), strings.ToUpper(d.network), reply.Len())
}
